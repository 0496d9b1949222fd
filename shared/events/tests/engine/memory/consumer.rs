//! A consumer's database: what it keeps, and what a test does to it.

mod store;
mod transaction;

use std::collections::HashMap;
use std::sync::Arc;

use events::{Act, Aggregate, ConsumerId, Event, Mark, Parked, Position, Resynced, Skip};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use uuid::Uuid;

/// A consumer's database. Its transactions exclude each other.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    state: Arc<tokio::sync::Mutex<State>>,
}

#[derive(Clone, Default)]
struct State {
    marks: HashMap<&'static str, MarkRow>,
    parked: HashMap<&'static str, Vec<Parked>>,
    /// The events that the effects have applied, in order.
    applied: Vec<Event>,
    counts: HashMap<Aggregate, i64>,
    skips: Vec<(Position, Skip)>,
}

#[derive(Clone)]
struct MarkRow {
    mark: Mark,
    owner: Uuid,
    until: Instant,
    fence: i64,
    halted: Option<String>,
    hold_until: Option<Instant>,
    resynced: Option<Resynced>,
    act: Option<Act>,
}

impl MarkRow {
    fn is_held(&self) -> bool {
        self.hold_until.is_some_and(|until| until > Instant::now())
    }
}

/// A transaction: a copy that replaces the state at the commit.
pub(crate) struct MemoryTx {
    guard: OwnedMutexGuard<State>,
    copy: State,
}

impl MemoryStore {
    pub(crate) async fn applied(&self) -> Vec<Event> {
        self.state.lock().await.applied.clone()
    }

    pub(crate) async fn count(&self, aggregate: &Aggregate) -> i64 {
        self.state.lock().await.counts.get(aggregate).copied().unwrap_or_default()
    }

    pub(crate) async fn skips(&self) -> Vec<(Position, Skip)> {
        self.state.lock().await.skips.clone()
    }

    /// Lets the owner's lease run out, whatever the owner is doing.
    pub(crate) async fn expire_lease(&self, consumer: ConsumerId) {
        self.state.lock().await.row(consumer).until = Instant::now();
    }

    /// The mark of a consumer, and the reason of its halt.
    pub(crate) async fn stands(&self, consumer: ConsumerId) -> (Mark, Option<String>) {
        let state = self.state.lock().await;
        state.marks.get(consumer.name).map_or((Mark::START, None), |row| (row.mark, row.halted.clone()))
    }
}

impl State {
    fn row(&mut self, consumer: ConsumerId) -> &mut MarkRow {
        self.marks.entry(consumer.name).or_insert_with(|| MarkRow {
            mark: Mark::START,
            owner: Uuid::nil(),
            until: Instant::now(),
            fence: 0,
            halted: None,
            hold_until: None,
            resynced: None,
            act: None,
        })
    }
}
