//! The work that passwords make: hashing them, and the memory that it takes.

mod hasher;
mod memory;

pub(crate) use hasher::Hasher;
