//! User service: users, their posts and their credit, on MongoDB.
//!
//! `grpc/` decodes and encodes, `app/` decides (one file for each changing rpc), `storage/` keeps; `domain/` is
//! what holds anywhere. A change and the event that tells of it are one transaction, because writes exist on
//! [`storage::Tx`] only. `workers.rs` starts what runs in the background.

mod app;
mod audit;
pub mod clients;
pub mod config;
mod domain;
pub mod error;
mod grpc;
mod operate;
mod serve;
pub mod storage;
pub mod transfers;
mod workers;

pub use app::Bootstrapped;
pub use config::Config;
pub use error::{Error, Result};
pub use operate::{NewAdmin, bootstrap_admin, migrate, new_epoch};
pub use serve::{UserService, Verifier};
