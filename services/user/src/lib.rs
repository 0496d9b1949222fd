//! User service: users, their posts and their credit, on MongoDB.
//!
//! `grpc/` decodes and encodes, `app/` decides (one file for each changing rpc), `storage/` keeps; `domain/` is
//! what holds anywhere. A change and the event that tells of it are one transaction, because writes exist on
//! [`storage::Tx`] only. `workers.rs` starts what runs in the background.

mod app;
mod clients;
pub mod config;
mod domain;
pub mod error;
pub mod storage;
mod transfers;

pub use config::Config;
pub use error::{Error, Result};
