//! The book of the wallets: what they show, the postings that led there, what is reserved for transfers, and what the
//! audit has seen of it.

mod acts;
mod audit;
mod hold_history;
mod holds;
mod ledger;
mod participant;
mod refused;
mod spending;
mod statement;
mod trial_balance;
mod wallets;

pub(crate) use hold_history::{HoldEvent, HoldHistory};
pub(crate) use holds::StoredHold;
pub use participant::Participant;
pub(crate) use spending::Recount;
