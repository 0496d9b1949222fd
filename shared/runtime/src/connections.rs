//! Connections to a database belong to the process, not to one of its cores: a machine with more cores must not open
//! more of them.
//!
//! A connection answers on the tokio runtime that made it, so each core had best use its own. [`Pool`] counts them for
//! the process and keeps them apart by core; who finds none of its own takes another core's. A client that pools by
//! itself cannot be taken apart like that: [`Spread`] has few of them, each for several cores. [`Budget`] tells whether
//! all replicas fit what the server allows.

mod budget;
mod pool;
mod spread;

pub use budget::Budget;
pub use pool::{Busy, Lease, Limits, Pool};
pub use spread::{Spread, clients};
