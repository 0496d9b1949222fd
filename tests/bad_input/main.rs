//! What each wrong call gets: code, reason, fields, and a state that has not changed.
//!
//! `cases.json` has one row a case, for what is particular to an rpc. `every_rpc.rs`, `extremes/` and
//! `transport.rs` add what holds for all of them: identities, fields at their ends, and bytes that are no call. After everything there has been no panic, no
//! INTERNAL beyond the one that the gRPC specification demands, and no ERROR in a log.

mod cases;
mod digest;
mod every_rpc;
mod extremes;
mod raw;
mod stage;
mod transport;
