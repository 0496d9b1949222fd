//! Session service through its own front door: a real tonic server, a real Redis, and a user service that is a
//! gRPC server in this process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod doctor;
mod events;
mod failover;
mod failure_table;
mod failures;
mod harness;
mod log;
mod metrics;
mod peer;
mod redis_away;
mod revocations;
mod secure;
mod sessions;
mod start;
