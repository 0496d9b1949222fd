//! A whole system in one process and in virtual time: a producer's database with writers and sequencers, the channel,
//! `EventService` behind its generated client, and the consumer with its database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use events::history::History;
use events::service::EventServer;
use events::source::{GrpcSource, Pages, Source, SourceError};
use events::{
    Aggregate, Consumer, ConsumerId, ConsumerOptions, EffectError, Effects, Event, Head, Headers, Mark,
    NewEvent, Position, Sequencer, SequencerOptions, Stamped,
};
use futures_util::stream::StreamExt as _;
use time::OffsetDateTime;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use types::EventId;
use uuid::Uuid;

use crate::lossy::Lossy;
use crate::memory::{MemoryOutbox, MemoryStore, MemoryTx};

pub(crate) const READER: ConsumerId = ConsumerId { name: "model.reader", stream: "model" };

/// A probability that can be changed from outside, in percent.
pub(crate) type Percent = Arc<AtomicU32>;

fn happens(percent: &Percent) -> bool {
    fastrand::u32(0..100) < percent.load(Ordering::Relaxed)
}

/// Effects that note each event in the consumer's database, and fail now and then.
#[derive(Default)]
pub(crate) struct Noting {
    pub(crate) failing: Percent,
    /// Whether the events do not concern the consumer.
    pub(crate) unconcerned: AtomicBool,
    /// How many runs were applied.
    pub(crate) runs: AtomicU32,
    /// How many milliseconds a run takes.
    pub(crate) takes_ms: AtomicU64,
    /// When each event was applied.
    pub(crate) applied_at: Mutex<HashMap<EventId, Instant>>,
}

impl Effects<MemoryTx> for Noting {
    async fn apply(&self, tx: &mut MemoryTx, run: &[Event]) -> Result<(), EffectError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let takes = Duration::from_millis(self.takes_ms.load(Ordering::Relaxed));
        if !takes.is_zero() {
            sleep(takes).await;
        }
        for event in run {
            tokio::task::yield_now().await;
            tx.apply(event);
            if happens(&self.failing) {
                return Err(EffectError::Transient("a conflict".into()));
            }
        }
        let now = Instant::now();
        self.applied_at.lock().unwrap().extend(run.iter().map(|event| (event.new.id, now)));
        Ok(())
    }

    fn concerns(&self, _: &Event) -> bool {
        !self.unconcerned.load(Ordering::Relaxed)
    }
}

/// A producer whose calls fail and whose streams break off.
#[derive(Clone)]
pub(crate) struct Flaky<S> {
    inner: S,
    failing: Percent,
}

impl<S> Flaky<S> {
    fn trouble(&self) -> Result<(), SourceError> {
        if happens(&self.failing) { Err(SourceError::Unavailable("away".into())) } else { Ok(()) }
    }
}

impl<S: Source> Source for Flaky<S> {
    async fn head(&self, stream: &str) -> Result<Head, SourceError> {
        self.trouble()?;
        self.inner.head(stream).await
    }

    async fn replay(
        &self,
        stream: &str,
        epoch: Uuid,
        after: Position,
        follow: bool,
    ) -> Result<Pages, SourceError> {
        self.trouble()?;
        let pages = self.inner.replay(stream, epoch, after, follow).await?;
        let flaky = self.clone();
        Ok(pages.map(move |page| flaky.trouble().and(page)).boxed())
    }

    async fn resume(&self, stream: &str, mark: &Mark) -> Result<History, SourceError> {
        self.trouble()?;
        self.inner.resume(stream, mark).await
    }

    async fn acknowledge(&self, consumer: ConsumerId, mark: &Mark) -> Result<(), SourceError> {
        self.trouble()?;
        self.inner.acknowledge(consumer, mark).await
    }
}

/// The parts of the system, and its running tasks.
pub(crate) struct World {
    pub(crate) outbox: MemoryOutbox,
    pub(crate) channel: Lossy,
    pub(crate) store: MemoryStore,
    pub(crate) source_failing: Percent,
    pub(crate) effects: Arc<Noting>,
    pub(crate) options: SequencerOptions,
    /// Whether some events are too long for the channel.
    pub(crate) long_payloads: bool,
    stamped: Stamped,
    running: JoinSet<()>,
    sequencers: Vec<AbortHandle>,
    consumers: Vec<AbortHandle>,
    versions: HashMap<Aggregate, i64>,
    pub(crate) committed: Vec<EventId>,
}

impl World {
    pub(crate) fn new() -> Self {
        let outbox = MemoryOutbox::new(READER.stream);
        outbox.register(READER.name);
        Self {
            outbox,
            channel: Lossy::default(),
            store: MemoryStore::default(),
            source_failing: Percent::default(),
            effects: Arc::default(),
            options: SequencerOptions::default(),
            long_payloads: true,
            stamped: Stamped::new(),
            running: JoinSet::new(),
            sequencers: Vec::new(),
            consumers: Vec::new(),
            versions: HashMap::new(),
            committed: Vec::new(),
        }
    }

    pub(crate) fn source(&self) -> impl Source + use<> {
        let server = EventServer::new(self.outbox.clone(), CancellationToken::new())
            .with_stamped(self.stamped.clone());
        Flaky { inner: GrpcSource::new(server.into_service()), failing: self.source_failing.clone() }
    }

    pub(crate) fn start_sequencer(&mut self) {
        let bus = self.channel.clone();
        let sequencer = Sequencer::new(self.outbox.clone(), READER.stream, bus, self.options.clone())
            .with_stamped(self.stamped.clone());
        self.sequencers.push(self.running.spawn(sequencer.run(CancellationToken::new())));
    }

    pub(crate) fn start_consumer(&mut self) {
        let (store, effects) = (self.store.clone(), self.effects.clone());
        let options = ConsumerOptions { batch_max: 20, ..ConsumerOptions::default() };
        let consumer = Consumer::new(READER, store, effects, self.source(), self.channel.clone(), options);
        self.consumers.push(self.running.spawn(consumer.run(CancellationToken::new())));
    }

    /// Runs something else beside the rest.
    pub(crate) fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(future);
    }

    /// Kills one sequencer at any instruction, and starts another.
    pub(crate) fn kill_sequencer(&mut self) {
        let at = fastrand::usize(..self.sequencers.len());
        self.sequencers.swap_remove(at).abort();
        self.start_sequencer();
    }

    /// Kills one consumer at any instruction, and starts another.
    pub(crate) fn kill_consumer(&mut self) {
        let at = fastrand::usize(..self.consumers.len());
        self.consumers.swap_remove(at).abort();
        self.start_consumer();
    }

    /// Kills the sequencer and the consumer that were started first.
    pub(crate) fn kill_first(&mut self) {
        self.sequencers.remove(0).abort();
        self.consumers.remove(0).abort();
    }

    /// Ends all consumers.
    pub(crate) fn stop_consumers(&mut self) {
        self.consumers.drain(..).for_each(|consumer| consumer.abort());
    }

    /// The next events of an aggregate, not committed.
    pub(crate) fn next_events(&mut self, aggregate: &Aggregate, count: usize) -> Vec<NewEvent> {
        let version = self.versions.entry(aggregate.clone()).or_default();
        (0..count)
            .map(|_| {
                *version += 1;
                NewEvent {
                    id: EventId::from_uuid(Uuid::now_v7()),
                    aggregate: aggregate.clone(),
                    aggregate_version: *version,
                    event_type: "test.v1.Happened".to_owned(),
                    schema_version: 1,
                    payload: vec![7; if self.long_payloads && fastrand::u8(..) < 2 { 40_000 } else { 10 }]
                        .into(),
                    headers: Headers::default(),
                    created_at: OffsetDateTime::UNIX_EPOCH,
                }
            })
            .collect()
    }

    pub(crate) fn commit(&mut self, events: Vec<NewEvent>) {
        self.committed.extend(events.iter().map(|event| event.id));
        self.outbox.commit(events).unwrap();
    }

    /// Rolls back the transaction of an aggregate's newest events.
    pub(crate) fn roll_back(&mut self, events: &[NewEvent]) {
        for event in events {
            *self.versions.get_mut(&event.aggregate).unwrap() -= 1;
        }
    }

    /// Commits one event of one of a few aggregates.
    pub(crate) fn write_one(&mut self) {
        let aggregate = Aggregate::new("thing", fastrand::u8(0..5));
        let events = self.next_events(&aggregate, 1);
        self.commit(events);
    }

    /// Waits until the consumer has come to the head of everything that was committed.
    pub(crate) async fn until_applied(&self, within: Duration) -> Result<(), String> {
        let give_up = Instant::now() + within;
        loop {
            let (mark, halted) = self.store.stands(READER).await;
            let head = self.outbox.ids().len();
            if self.outbox.pending() == 0 && mark.position == head as Position {
                return Ok(());
            }
            if Instant::now() >= give_up {
                let pending = self.outbox.pending();
                return Err(format!("at {mark:?} of {head}, {pending} not stamped, halted: {halted:?}"));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The contract: every committed event was applied, once, in the stream's order, which keeps that of each
/// aggregate.
pub(crate) fn check(committed: &[EventId], stream: &[EventId], applied: &[Event]) -> Result<(), String> {
    let mut sorted = [committed.to_vec(), stream.to_vec()];
    sorted.iter_mut().for_each(|ids| ids.sort_unstable());
    if sorted[0] != sorted[1] {
        return Err("the stream does not have each committed event once".to_owned());
    }
    let order: Vec<EventId> = applied.iter().map(|event| event.new.id).collect();
    if let Some(at) = (0..stream.len().max(order.len())).find(|at| stream.get(*at) != order.get(*at)) {
        return Err(format!(
            "at {} the stream has {:?} and the consumer applied {:?}; {} of {} applied",
            at + 1,
            stream.get(at),
            order.get(at),
            order.len(),
            stream.len()
        ));
    }
    let mut versions: HashMap<&Aggregate, i64> = HashMap::new();
    for event in applied {
        let version = versions.entry(&event.new.aggregate).or_default();
        *version += 1;
        if event.new.aggregate_version != *version {
            return Err(format!("{:?} came out of its order", event.new.aggregate));
        }
    }
    Ok(())
}
