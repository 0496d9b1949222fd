//! The sequencer's loudspeaker: publishes what was stamped, and a heartbeat every 250 ms.
//!
//! It runs beside the stamping and never holds it up: stamped events are handed over through a bounded queue,
//! and what does not fit is read from the store again. Publishing never needs to be exactly once, nor at all.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::bus::{Channel, Outgoing, events_channel};
use crate::cloud_event::{channel_event, channel_head};
use crate::envelope::Event;
use crate::pace::Throttle;
use crate::sequencer::SequencerOptions;
use crate::store::{Head, Lease, OutboxStore, Position};

/// How many stamped events wait in memory for the bus.
const QUEUE_MAX: usize = 4096;
/// How many events are published in a row before it is looked whether a heartbeat is due.
const BATCH_MAX: usize = 500;
/// Further behind than this the relay goes on at the head: consumers have seen the heartbeats and replay.
const BACKLOG_MAX: Position = 10_000;

/// What one owner of a lease has stamped and published.
pub(crate) struct Relay {
    queue: Mutex<Queue>,
    pushed: Notify,
    through: AtomicI64,
    away: AtomicBool,
}

struct Queue {
    events: VecDeque<Event>,
    head: Head,
}

impl Relay {
    pub(crate) fn new(head: Head, lease: &Lease) -> Self {
        Self {
            queue: Mutex::new(Queue { events: VecDeque::new(), head }),
            pushed: Notify::new(),
            through: AtomicI64::new(lease.published_through),
            away: AtomicBool::new(false),
        }
    }

    /// Whether the bus took nothing when it was last tried.
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// The newest position that was published.
    pub(crate) fn through(&self) -> Position {
        self.through.load(Ordering::Relaxed)
    }

    /// Hands over events that were stamped just now.
    pub(crate) fn push(&self, events: Vec<Event>) {
        let Some(last) = events.last() else { return };
        let mut queue = self.lock();
        queue.head.position = last.position;
        queue.head.event_id = Some(last.new.id);
        if queue.head.oldest == 0 {
            queue.head.oldest = events[0].position;
        }
        if queue.events.len() + events.len() > QUEUE_MAX {
            queue.events.clear();
        }
        queue.events.extend(events);
        drop(queue);
        self.pushed.notify_one();
    }

    /// Notes what pruning left.
    pub(crate) fn set_oldest(&self, oldest: Position) {
        self.lock().head.oldest = oldest;
    }

    /// Publishes until it is dropped.
    pub(crate) async fn run<S: OutboxStore, C: Channel>(
        &self,
        store: &S,
        bus: &C,
        options: &SequencerOptions,
    ) {
        let mut warnings = Throttle::default();
        let mut heartbeat = interval(options.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                _ = heartbeat.tick() => true,
                // While Redis is away the heartbeat alone knocks.
                () = self.pushed.notified(), if !self.is_away() => false,
            };
            if let Err(error) = self.publish(store, bus, due).await {
                if !self.away.swap(true, Ordering::Relaxed) || warnings.ready() {
                    tracing::warn!(error = &*error, "events are not published; consumers follow instead");
                }
            } else if self.away.swap(false, Ordering::Relaxed) {
                tracing::info!("events are published again");
            }
        }
    }

    /// Publishes what is stamped and not published, then the heartbeat if it is due.
    pub(crate) async fn publish<S: OutboxStore, C: Channel>(
        &self,
        store: &S,
        bus: &C,
        mut heartbeat: bool,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        loop {
            let (events, mut head) = self.next_batch(store).await?;
            let last = events.last().map(|event| event.position);
            let complete = last.unwrap_or(self.through()) >= head.position;
            if let (false, Some(last)) = (complete, events.last()) {
                // The heartbeat never tells of what was not published before it: it would look like a loss.
                head.position = last.position;
                head.event_id = Some(last.new.id);
            }
            let channel = events_channel(&head.stream);
            let mut messages: Vec<Outgoing> =
                events.iter().map(|event| (channel.clone(), channel_event(event))).collect();
            if fault::BUILT_IN && messages.len() > 1 {
                // What a crash leaves of a batch: a pipeline has no moment between its messages.
                bus.publish(vec![messages.remove(0)]).await?;
                fault::point!("relay.published_one", &head.stream);
            }
            if std::mem::take(&mut heartbeat) {
                messages.push((channel, channel_head(&head)));
            }
            if messages.is_empty() {
                return Ok(());
            }
            bus.publish(messages).await?;
            if let Some(last) = last {
                fault::point!("relay.published", &head.stream);
                self.through.store(last, Ordering::Relaxed);
            }
            if complete {
                return Ok(());
            }
        }
    }

    /// The next events to publish, from memory where they follow on what was published, else from the store.
    async fn next_batch<S: OutboxStore>(
        &self,
        store: &S,
    ) -> Result<(Vec<Event>, Head), crate::store::StoreError> {
        let mut through = self.through();
        let (stream, backlog) = {
            let mut queue = self.lock();
            while queue.events.front().is_some_and(|event| event.position <= through) {
                queue.events.pop_front();
            }
            let follows = queue.events.front().is_some_and(|event| event.position == through + 1);
            if follows || queue.head.position <= through {
                let count = queue.events.len().min(BATCH_MAX);
                let events = if follows { queue.events.drain(..count).collect() } else { Vec::new() };
                return Ok((events, queue.head.clone()));
            }
            (queue.head.stream.clone(), queue.head.position - through)
        };
        let mut events = Vec::new();
        if backlog <= BACKLOG_MAX {
            events = store.read_after(&stream, through, BATCH_MAX).await?;
        }
        let queue = self.lock();
        if events.is_empty() {
            // Too far behind, or pruned already.
            through = queue.head.position;
            self.through.store(through, Ordering::Relaxed);
        }
        Ok((events, queue.head.clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder of this lock panics")
    }
}
