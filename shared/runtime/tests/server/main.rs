//! The server as its clients see it: a real one, with a small service, over real connections.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod balance;
mod errors;
mod harness;
mod layers;
mod lifecycle;
mod limits;
mod metrics;
mod open;
mod peers;
mod reflection;
mod tls;
