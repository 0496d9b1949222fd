//! What a database must do for the backbone. PostgreSQL and MongoDB implement all of it in their services'
//! `storage/`, Redis what a stream without an outbox table needs; one conformance suite holds them together.
//!
//! Every time in here is the database's own: leases and retention never go by a process' clock. A lease that
//! is taken for a duration of zero has run out at once: that is how an owner gives it back.

mod consumer;
mod error;
mod log;
mod outbox;

pub use self::consumer::{
    Act, ConsumerId, ConsumerStore, ConsumerTx, HoldClaim, LeasedMark, LockedMark, Mark, Parked, Resynced,
    Skip, Standing,
};
pub use self::error::StoreError;
pub use self::log::{EventLog, Head, Resolved};
pub use self::outbox::{Lease, OutboxStore, RelayLease, Silent, Stamp};
