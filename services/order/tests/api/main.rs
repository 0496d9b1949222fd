//! Order service over gRPC, on a real PostgreSQL of its own for each test. Only the peers are imitated.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accounts;
mod audit;
mod audit_drift;
mod audit_peer;
mod book;
mod cancel_order;
mod concurrency;
mod conformance;
mod connections;
mod create_product;
mod customers;
mod deactivated;
mod decision;
mod experiments;
mod harness;
mod in_the_way;
mod logged;
mod logical_slot;
mod operator;
mod outbox;
mod pay_order;
mod paying;
mod peers;
mod place_order;
mod recovery;
mod refund_order;
mod refusal;
mod schema;
mod statistics_snapshot;
mod teeth;
mod transfer_order;
mod transfers;
mod user_stream;
mod wallet;
