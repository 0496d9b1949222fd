//! Calls to other services, in terms of this one.

mod audit;
mod user;
mod wallets;

pub(crate) use audit::{BookPages, WalletBook};
pub(crate) use user::{UserSnapshot, Users};
pub(crate) use wallets::{WalletHold, Wallets};
