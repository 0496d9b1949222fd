//! MongoDB. [`Store`] reads, [`Tx`] writes; nothing else in this service names the driver, except `doctor/`, which looks at
//! the server itself.
//!
//! Reads outside a transaction are at read concern majority on the primary, whatever the URL says; writes are
//! acknowledged by a majority that has them in its journal. A transaction reads one snapshot and conflicts abort it
//! at once. What it only reads may change under it: a number that must not be broken (a balance, a count, a version)
//! is in a document that it writes, on the condition that it is as it was read. Whether a user is active is only read
//! where credit moves and where somebody is followed, and whether a post is published where it is liked: such a
//! transaction that began before that ended may commit after it.

mod backbone;
mod book;
mod connections;
mod counters;
mod credentials;
mod driver;
mod erasures;
mod hashes;
mod latest;
mod made;
mod migrations;
mod place;
mod posts;
mod relations;
mod renewal;
mod requests;
mod settings;
mod snapshot;
mod start;
mod statistics;
mod store;
mod transaction;
mod tx;
mod user_changes;
mod users;
mod writes;

pub(crate) use backbone::OUTBOX;
pub use backbone::STREAM;
pub use book::Participant;
pub(crate) use book::{HoldEvent, HoldHistory, Recount, StoredHold};
pub(crate) use counters::{PostTally, UserTally};
pub use driver::FAILURES;
pub(crate) use driver::{
    DUPLICATE_KEY, SERVER_TIME, TRANSACTION_LIFETIME, UNAUTHORIZED, bounded, bounded_raw, classify, code,
    within, without_command,
};
pub use migrations::{Applied, Schema};
pub(crate) use migrations::{Form, Index, forms};
pub(crate) use place::WIRE_VERSION;
pub(crate) use requests::Outcome;
pub(crate) use settings::{LIFETIME, connections_allowed, number};
pub use store::{Shared, Store};
pub(crate) use store::{from_time, to_time};
pub use transaction::Finished;
pub use tx::Tx;
pub(crate) use users::{SearchFill, Walk};
