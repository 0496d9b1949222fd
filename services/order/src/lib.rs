//! Order service: products, orders, merchants' accounts and the transfers between wallets and accounts, on
//! PostgreSQL.
//!
//! A call goes `grpc/` (decode, encode), `app/` (one file a changing use case), `storage/` (statements);
//! `domain/` has the rules. `transfers/` moves credit together with user service. `workers.rs` stamps and
//! publishes this service's events and applies those of others.

mod app;
mod audit;
mod clients;
pub mod config;
mod consumers;
pub mod doctor;
mod domain;
mod error;
mod grpc;
mod serve;
pub mod storage;
mod transfers;
mod workers;

pub use domain::{
    AccountRefused, CustomerRefused, OrderRefused, OrderState, ProductRefused, Reason, TransferRefused,
};
pub use error::{Error, Result};
pub use serve::{DOMAIN, OrderService};
pub use storage::schema;
