//! A backlog: many events are committed at once. Measures how long it takes until all of them are stamped, delivered
//! and applied in the other database.

use std::time::Duration;

use anyhow::{Result, ensure};
use measurement::Round;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Postgres, Transaction};
use tokio::time::Instant;

use crate::bare::{self, Bare};
use crate::events_way::applied;
use crate::order_events::{self, Customers, Databases, Marks, Wake};
use crate::round::{Plan, Tally, Watch, Watched};

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
    /// Measure the floor instead: this process writes and applies the events with bare drivers, and is watched as
    /// `floor`.
    #[arg(long)]
    pub floor: bool,
}

/// Measures it: from the commit until the last consumer has applied the last event.
///
/// # Errors
/// When a database does not answer, or events are not applied.
pub async fn run(plan: &Plan, backlog: &Backlog) -> Result<Round> {
    if backlog.floor {
        return run_floor(plan, backlog).await;
    }
    let mut postgres = order_events::postgres(&backlog.databases).await?;
    let marks = Marks::connect(&backlog.databases).await?;
    let wake = Wake::connect(&backlog.databases).await?;
    let before = order_events::head_at_rest(&mut postgres, APPLIED_WITHIN).await?;
    applied(&marks, before, APPLIED_WITHIN).await?;
    let transaction = written(&mut postgres, order_events::STREAM, backlog.events).await?;
    let watch = Watch::begin(&plan.watch)?;
    transaction.commit().await?;
    let committed_at = Instant::now();
    wake.wake().await?;
    applied(&marks, before + i64::try_from(backlog.events)?, APPLIED_WITHIN).await?;
    ended(watch, committed_at, backlog.events)
}

async fn run_floor(plan: &Plan, backlog: &Backlog) -> Result<Round> {
    let mut postgres = order_events::postgres(&backlog.databases).await?;
    let mut bare = Bare::connect(&backlog.databases).await?;
    let transaction = written(&mut postgres, bare::STREAM, backlog.events).await?;
    // This process does the work itself, and has already written all events.
    let this = Watched { name: "floor".to_owned(), pid: std::process::id() };
    let watched: Vec<Watched> = plan.watch.iter().cloned().chain([this]).collect();
    let watch = Watch::begin(&watched)?;
    transaction.commit().await?;
    let committed_at = Instant::now();
    let mut left = backlog.events;
    while left > 0 {
        let done = bare.step().await?.len();
        ensure!(done > 0, "{left} events were not applied");
        left = left.saturating_sub(done);
    }
    ended(watch, committed_at, backlog.events)
}

/// A transaction that has written the events and is not committed.
async fn written<'a>(
    postgres: &'a mut PgConnection,
    stream: &str,
    events: usize,
) -> Result<Transaction<'a, Postgres>> {
    let customers = Customers::new();
    let mut transaction = postgres.begin().await?;
    let mut left = events;
    while left > 0 {
        let count = left.min(CHUNK);
        let orders: Vec<_> = (0..count).map(|_| customers.order()).collect();
        order_events::write(&mut transaction, stream, &orders).await?;
        left -= count;
    }
    Ok(transaction)
}

fn ended(watch: Watch, committed_at: Instant, events: usize) -> Result<Round> {
    let mut tally = Tally::default();
    tally.count(None, committed_at.elapsed());
    let mut round = watch.end()?.with(&tally);
    round.done = events as u64;
    Ok(round)
}
