//! The event backbone: a change in one service's database reaches the other services once and in order, over a
//! channel that may lose anything.
//!
//! A write and its event commit in one transaction: the service's `Tx` appends a [`NewEvent`]. Each stream has one
//! sequencer, which gives committed events their positions, without holes, and publishes them. A consumer applies a
//! run of consecutive events and moves its mark in one transaction; what the channel lost it reads from the producer.
//! This crate knows the protocol, but neither SQL nor MongoDB: the services implement the traits of [`store`] in their
//! `storage/`, and the suites of `conformance` (feature `testing`) hold them to the same behaviour.

pub mod admin;
mod admin_service;
pub mod bus;
pub mod cloud_event;
#[cfg(feature = "testing")]
pub mod conformance;
pub mod consumer;
mod effects;
pub mod envelope;
pub mod ephemeral;
mod failure;
pub mod history;
mod liveness;
pub mod log_relay;
mod machine;
mod pace;
mod parked_acts;
pub mod participant;
#[cfg(feature = "testing")]
pub mod recorded;
mod resync;
mod resync_jobs;
pub mod sequencer;
pub mod service;
mod snapshot;
pub mod source;
mod spans;
mod stamped;
mod status;
pub mod store;
#[cfg(test)]
mod test_support;

pub use admin::{ConsumerAdmin, ConsumerHandle, Retried, Skipped};
pub use bus::Bus;
pub use consumer::{Consumer, ConsumerOptions};
pub use effects::{EffectError, Effects};
pub use envelope::{Aggregate, Event, Headers, NewEvent, Position, Undecodable};
pub use ephemeral::{Ephemeral, Listener};
pub use liveness::Liveness;
pub use log_relay::{LogRelay, LogRelayOptions};
pub use participant::{Direction, Hold, HoldSpec, HoldState, Outcome, ParticipantTx, Refusal, Step};
pub use resync::RESYNC_HOLD;
pub use resync_jobs::Resyncs;
pub use sequencer::{Sequencer, SequencerOptions};
pub use snapshot::{Rebuild, Snapshot};
pub use spans::Continues;
pub use stamped::Stamped;
pub use store::{
    Act, ConsumerId, ConsumerStore, ConsumerTx, EventLog, Head, HoldClaim, Lease, LeasedMark, LockedMark,
    Mark, OutboxStore, PENDING_COUNTED, Parked, Pending, RelayLease, Resolved, Resynced, Silent, Skip, Stamp,
    Standing, StoreError,
};
