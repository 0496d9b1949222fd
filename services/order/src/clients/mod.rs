//! Calls to other services, in terms of this one.

mod user;
mod wallets;

pub use user::Users;
pub(crate) use wallets::{WalletHold, Wallets};
