//! What the events of other services do here.

mod revocations;
mod start_over;

pub(crate) use revocations::{REVOCATIONS, Revocations};
pub(crate) use start_over::{StartOver, oldest_mark};
