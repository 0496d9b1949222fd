//! Calls to other services, in terms of this one.

mod user;
mod wallets;

pub(crate) use user::Users;
pub(crate) use wallets::{WalletHold, Wallets};
