//! User service: users, their posts and their credit, on MongoDB.
//!
//! `grpc/` decodes and encodes, `app/` decides, `storage/` keeps, `domain/` is what holds anywhere: each of them by
//! noun. `consumers/` and `transfers/` are what this service makes of the events of others. A change and the event that
//! tells of it are one transaction, because writes exist on [`storage::Tx`] only. `workers.rs` starts what runs in the
//! background.

mod app;
mod audit;
pub mod clients;
pub mod config;
mod consumers;
pub mod doctor;
mod domain;
mod erasure;
mod error;
mod grpc;
mod jobs;
mod operate;
mod passwords;
mod recount;
mod rounds;
mod serve;
pub mod storage;
pub mod transfers;
mod views;
mod windows;
mod workers;

pub use app::Bootstrapped;
pub use config::Config;
pub use error::{Error, Result};
pub use operate::{NewAdmin, bootstrap_admin, migrate, new_epoch, recount};
pub use recount::{Difference, Recounted};
pub use serve::{UserService, Verifier};
