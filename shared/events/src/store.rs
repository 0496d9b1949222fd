//! What a database must do for the backbone. The services implement these traits in their `storage/`: all of them for
//! PostgreSQL and MongoDB, and for Redis those that a stream without an outbox table needs. The suites of `conformance`
//! hold all three to the same behaviour.
//!
//! Leases and retention go by the database's clock, never by a process' own. An owner gives a lease back by taking it
//! for a duration of zero.

mod consumer;
mod error;
mod log;
mod outbox;

pub use self::consumer::{
    Act, ConsumerId, ConsumerStore, ConsumerTx, HoldClaim, LeasedMark, LockedMark, Mark, Parked, Resynced,
    Skip, Standing,
};
pub use self::error::StoreError;
pub use self::log::{EventLog, Head, Resolved, consecutive};
pub use self::outbox::{Lease, OutboxStore, PENDING_COUNTED, Pending, RelayLease, Silent, Stamp};
