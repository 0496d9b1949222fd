//! Order service: products, orders, merchants' accounts and the transfers between wallets and accounts, on
//! PostgreSQL.
//!
//! A call goes `grpc/` (decode, encode), `app/` (one file a changing use case), `storage/` (statements);
//! `domain/` has the rules. `transfers/` moves credit together with user service. `workers.rs` stamps and
//! publishes this service's events and applies those of others.

mod app;
mod clients;
pub mod config;
mod domain;
mod error;
mod grpc;
pub mod storage;
mod transfers;

pub use error::{Error, Result};
