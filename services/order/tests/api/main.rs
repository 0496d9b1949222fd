//! Order service over gRPC, on a real PostgreSQL of its own for each test. Only the peers are imitated.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accounts;
mod audit;
mod audit_peer;
mod book;
mod conformance;
mod connections;
mod currencies;
mod customers;
mod doctor;
mod experiments;
mod failure_table;
mod failures;
mod harness;
mod in_the_way;
mod logged;
mod logical_slot;
mod metrics;
mod orders;
mod outbox;
mod paying;
mod peers;
mod pooler;
mod products;
mod refusal;
mod refused_start;
mod role;
mod schema;
mod teeth;
mod transfers;
mod user_stream;
mod wallet;
