//! The way of an event: from the commit in order service's database until user service has applied it in its own.
//!
//! The producer notes when each COMMIT was answered. The mark of consumer `user.statistics` shows when an event was
//! applied, since it moves in the transaction of the effects. It is read about a thousand times a second, which costs
//! the database something. So CPU is measured in rounds of its own, which read the mark at their end only.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use measurement::Round;
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex as TurnMutex;
use tokio::time::sleep;
use tonic::Status;
use uuid::Uuid;

use crate::bare::{self, Bare};
use crate::drive;
use crate::order_events::{self, Customers, Databases, Marks, Position, Wake};
use crate::round::{Plan, Tally};

/// Connections that write orders.
const LANES: usize = 16;
const LOOK_EVERY: Duration = Duration::from_micros(500);
const APPLIED_WITHIN: Duration = Duration::from_secs(20);
/// The pause between two batches of the floor, which is that of order service's sequencer at 500 events a second.
const STAMP_PAUSE: Duration = Duration::from_millis(2);

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct Way {
    /// Where the databases are.
    #[command(flatten)]
    pub databases: Databases,
    /// Events in a second.
    #[arg(long, default_value_t = 500.0)]
    pub events_rate: f64,
    /// Events that the producer commits together.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub events_a_commit: u16,
    /// Do not measure the times, so that reading the mark costs nothing.
    #[arg(long)]
    pub without_times: bool,
    /// Measure the floor instead: this process stamps and applies the events with bare drivers, and knows their times
    /// without reading the mark.
    #[arg(long, conflicts_with = "without_times")]
    pub floor: bool,
}

impl Way {
    fn commits_rate(&self) -> f64 {
        self.events_rate / f64::from(self.events_a_commit)
    }
}

/// Measures it.
///
/// # Errors
/// When a database does not answer, or events are not applied.
pub async fn run(plan: &Plan, way: &Way) -> Result<Round> {
    if way.floor {
        return run_floor(plan, way).await;
    }
    let mut postgres = order_events::postgres(&way.databases).await?;
    let marks = Marks::connect(&way.databases).await?;
    let before = order_events::head_at_rest(&mut postgres, APPLIED_WITHIN).await?;
    applied(&marks, before, APPLIED_WITHIN).await.context("before the round")?;
    let wake = Some(Wake::connect(&way.databases).await?);
    let producer = Producer::connect(way, order_events::STREAM, wake).await?;
    let counted_from = Instant::now() + plan.warm_up;
    let driven = drive::fixed_rate(plan, way.commits_rate(), LANES, producer.clone());
    let looks = async {
        let mut seen = Vec::new();
        loop {
            let position = marks.statistics().await?;
            if seen.last().is_none_or(|(last, _)| *last < position) {
                seen.push((position, Instant::now()));
            }
            if producer.is_over(position) {
                return anyhow::Ok(seen);
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let drive_to_end = async {
        let mut round = driven.await?;
        let written = producer.committed().len();
        let head = stamped(&mut postgres, before, written).await?;
        producer.end_at(head);
        applied(&marks, head, APPLIED_WITHIN).await?;
        round.done = written as u64;
        anyhow::Ok(round)
    };
    if way.without_times {
        let counted = |at: &Instant| *at >= counted_from && *at < counted_from + plan.duration;
        let mut round = drive_to_end.await?;
        round.done = producer.committed().values().filter(|at| counted(at)).count() as u64;
        return Ok(round);
    }
    let (round, seen) = tokio::try_join!(drive_to_end, looks)?;
    let committed = producer.committed();
    let mut tally = Tally::default();
    for (position, event_id) in order_events::events_after(&mut postgres, before).await? {
        let Some(committed_at) = committed.get(&event_id) else { continue };
        let look = seen.partition_point(|(seen, _)| *seen < position);
        let (_, applied_at) = seen.get(look).context("an event was not seen to be applied")?;
        if *committed_at >= counted_from {
            tally.count(None, applied_at.saturating_duration_since(*committed_at));
        }
    }
    Ok(tally.in_place_of(round))
}

async fn run_floor(plan: &Plan, way: &Way) -> Result<Round> {
    let mut bare = Bare::connect(&way.databases).await?;
    let producer = Producer::connect(way, bare::STREAM, None).await?;
    let counted_from = Instant::now() + plan.warm_up;
    let is_over = Cell::new(false);
    let driven = async {
        let round = drive::fixed_rate(plan, way.commits_rate(), LANES, producer.clone()).await;
        is_over.set(true);
        round
    };
    let steps = async {
        let mut applied = HashMap::new();
        loop {
            let events = bare.step().await?;
            let now = Instant::now();
            applied.extend(events.into_iter().map(|event| (event, now)));
            if is_over.get() && applied.len() >= producer.committed().len() {
                return anyhow::Ok(applied);
            }
            sleep(STAMP_PAUSE).await;
        }
    };
    let (round, applied) = tokio::try_join!(driven, steps)?;
    let counted = |at: &Instant| *at >= counted_from && *at < counted_from + plan.duration;
    let mut tally = Tally::default();
    for (event, committed_at) in producer.committed().into_iter().filter(|(_, at)| counted(at)) {
        let applied_at = applied.get(&event).context("an event was not applied")?;
        tally.count(None, applied_at.saturating_duration_since(committed_at));
    }
    Ok(tally.in_place_of(round))
}

/// Waits until this many events are stamped, and returns the position of the last one.
async fn stamped(postgres: &mut PgConnection, before: Position, count: usize) -> Result<Position> {
    let wanted = before + i64::try_from(count)?;
    let end = Instant::now() + APPLIED_WITHIN;
    while Instant::now() < end {
        let head = order_events::head(postgres).await?;
        if head >= wanted {
            return Ok(head);
        }
        sleep(LOOK_EVERY * 20).await;
    }
    bail!("{count} events above {before} are not stamped after {APPLIED_WITHIN:?}")
}

/// Waits until all consumers have applied everything up to a position.
pub(crate) async fn applied(marks: &Marks, position: Position, within: Duration) -> Result<()> {
    let end = Instant::now() + within;
    while Instant::now() < end {
        if marks.slowest().await? >= position {
            return Ok(());
        }
        sleep(LOOK_EVERY * 20).await;
    }
    bail!("the events up to {position} are not applied after {within:?}")
}

/// Commits one order or several a call.
#[derive(Clone)]
struct Producer(Arc<Inner>);

struct Inner {
    lanes: Vec<TurnMutex<PgConnection>>,
    stream: &'static str,
    wake: Option<Wake>,
    events_a_commit: u16,
    customers: Customers,
    committed: Mutex<HashMap<Uuid, Instant>>,
    end: Mutex<Option<Position>>,
}

impl Producer {
    async fn connect(way: &Way, stream: &'static str, wake: Option<Wake>) -> Result<Self> {
        let mut lanes = Vec::new();
        for _ in 0..LANES {
            lanes.push(TurnMutex::new(order_events::postgres(&way.databases).await?));
        }
        let (customers, events_a_commit) = (Customers::new(), way.events_a_commit);
        let (committed, end) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { lanes, stream, wake, events_a_commit, customers, committed, end })))
    }

    fn committed(&self) -> HashMap<Uuid, Instant> {
        self.0.committed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end_at(&self, head: Position) {
        *self.0.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
    }

    fn is_over(&self, position: Position) -> bool {
        self.0.end.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|end| position >= end)
    }

    async fn write(&self, lane: usize) -> Result<()> {
        let inner = &*self.0;
        let orders: Vec<_> = (0..inner.events_a_commit).map(|_| inner.customers.order()).collect();
        order_events::write(&mut *inner.lanes[lane].lock().await, inner.stream, &orders).await?;
        let now = Instant::now();
        let events = orders.iter().map(|order| (order.event_id, now));
        inner.committed.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
        match &inner.wake {
            Some(wake) => wake.wake().await,
            None => Ok(()),
        }
    }
}

impl drive::Call for Producer {
    async fn call(&self, lane: usize) -> Result<(), Status> {
        self.write(lane).await.map_err(|error| Status::unknown(format!("{error:#}")))
    }
}
