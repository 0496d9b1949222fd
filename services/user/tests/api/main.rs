//! User service, from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod book;
mod bootstrap_admin;
mod conformance;
mod create_user;
mod documents;
mod experiments;
mod expiry;
mod faults;
mod grants;
mod harness;
mod holds;
mod ledger;
mod order_stream;
mod participant;
mod posts;
mod streams;
mod teeth;
mod transfers;
mod users;
mod verify_password;
mod wallets;
