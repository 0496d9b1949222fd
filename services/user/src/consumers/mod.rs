//! What this service makes of the events of others, and of its own. The commands of transfers have a room of their own,
//! `transfers/`.

mod counters;
mod reading;
mod statistics;
mod statistics_snapshot;

pub(crate) use counters::{CONSUMER as COUNTERS_CONSUMER, Counted, Counters};
pub(crate) use statistics::{CONSUMER as STATISTICS_CONSUMER, Statistics};
pub(crate) use statistics_snapshot::StatisticsSnapshot;
