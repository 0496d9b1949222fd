//! What end-to-end and fault tests begin with: a whole system of real processes, people in it, and the check
//! that its books balance. Black box: everything goes through the gRPC APIs, but for what a fault needs.

pub mod books;
pub mod people;
pub mod rest;
pub mod settings;
pub mod stamps;
pub mod status;
pub mod streams;
pub mod sweep;
mod system;
pub mod tool;

pub use system::{System, build};
