//! A backlog: many events are committed at once, and it is measured how long it takes until all of them are stamped,
//! have gone their way, and are applied in the other database.

use std::time::Duration;

use anyhow::Result;
use sqlx::Connection as _;
use tokio::time::Instant;

use crate::events_way::applied;
use crate::order_events::{self, Customers, Databases, Marks, Wake};
use crate::round::{Plan, Round, Tally, Watch};

/// Orders in one statement.
const CHUNK: usize = 5000;
const APPLIED_WITHIN: Duration = Duration::from_secs(180);

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct Backlog {
    /// Where the databases are.
    #[command(flatten)]
    pub databases: Databases,
    /// How many events.
    #[arg(long, default_value_t = 100_000)]
    pub events: usize,
}

/// Measures it: from the commit until the last consumer has applied the last event.
///
/// # Errors
/// When a database does not answer, or events are not applied.
pub async fn run(plan: &Plan, backlog: &Backlog) -> Result<Round> {
    let mut postgres = order_events::postgres(&backlog.databases).await?;
    let marks = Marks::connect(&backlog.databases).await?;
    let wake = Wake::connect(&backlog.databases).await?;
    let customers = Customers::new();
    let before = order_events::head(&mut postgres).await?;
    applied(&marks, before, APPLIED_WITHIN).await?;
    let mut transaction = postgres.begin().await?;
    let mut left = backlog.events;
    while left > 0 {
        let count = left.min(CHUNK);
        let orders: Vec<_> = (0..count).map(|_| customers.order()).collect();
        order_events::write(&mut transaction, &orders).await?;
        left -= count;
    }
    let watch = Watch::begin(&plan.watch)?;
    transaction.commit().await?;
    let committed_at = Instant::now();
    wake.wake().await?;
    applied(&marks, before + i64::try_from(backlog.events)?, APPLIED_WITHIN).await?;
    let mut tally = Tally::default();
    tally.count(None, committed_at.elapsed());
    let mut round = watch.end()?.with(&tally);
    round.done = backlog.events as u64;
    Ok(round)
}
