//! What this service makes of the events of others. The commands of transfers have a room of their own, `transfers/`.

mod statistics;
mod statistics_snapshot;

pub(crate) use statistics::{CONSUMER as STATISTICS_CONSUMER, Statistics};
pub(crate) use statistics_snapshot::StatisticsSnapshot;
