//! PostgreSQL: the only place with driver crates.
//!
//! [`Store`] reads; [`Tx`] writes, and appends the events that tell of it ([`Tx::event_append`]), so that a
//! change and its event commit together. What [`Store`] itself writes is one statement each, a transaction of its own:
//! it has its event in it (`order_place`, `payment_begin`), or it is nobody's news (outcomes of requests, claims of
//! workers, the auditor's state). Each runtime core has a `Store` of its own; the background workers have one whose
//! sessions may not pause inside a transaction.

mod accounts;
mod book;
mod consumer;
mod consumer_tx;
mod customers;
mod errors;
mod holds;
mod ledger;
mod order_funds;
mod orders;
mod outbox;
mod outbox_append;
mod outbox_log;
mod placements;
mod pool;
mod products;
mod requests;
pub mod schema;
mod signals;
mod statistics;
mod store;
mod transaction;
mod transfer_history;
mod transfer_leases;
mod transfer_start;
mod transfers;
mod tx;

pub(crate) use book::{Audited, Turn};
pub(crate) use errors::violated;
pub(crate) use ledger::{TrialBalance, TrialBalanceLine};
pub(crate) use order_funds::PaymentView;
pub(crate) use placements::Placed;
pub use pool::Use;
pub(crate) use requests::Saved;
pub use signals::Signals;
pub(crate) use statistics::SumsSnapshot;
pub use store::Store;
pub(crate) use transaction::Retries;
pub(crate) use transfer_history::Told;
pub(crate) use transfer_leases::{Claim, Look};
pub(crate) use transfers::OperatorAct;
pub use tx::{Finished, Tx};

/// The stream of this service's events.
pub(crate) const STREAM: &str = "order";
