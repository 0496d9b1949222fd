//! User service, from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod book;
mod conformance;
mod counters;
mod doctor;
mod documents;
mod experiments;
mod expiry;
mod failure_table;
mod failures;
mod faults;
mod harness;
mod holdings_peer;
mod identity;
mod metrics;
mod order_stream;
mod parking;
mod participant;
mod posts;
mod refused_start;
mod relations;
mod roles;
mod streams;
mod teeth;
mod transaction;
mod transfers;
mod users;
mod wallets;
