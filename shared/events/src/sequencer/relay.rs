//! Publishes what the sequencer stamps, and a heartbeat every 250 ms.
//!
//! It runs beside the stamping and never delays it. Stamped events come through a bounded queue, and those that do not
//! fit are read from the store again. An event may be published twice or never: consumers notice both.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tracing::Instrument as _;

use super::metrics::OfStream;
use super::options::SequencerOptions;
use crate::bus::{Channel, Outgoing, PublishError, events_channel};
use crate::cloud_event::{channel_event, channel_head};
use crate::envelope::{Event, Position};
use crate::pace::Throttle;
use crate::spans::{Continues, send};
use crate::store::{Head, Lease, OutboxStore, StoreError};

/// The most stamped events that wait in memory to be published, and the most bytes of their payloads.
const QUEUE_MAX: usize = 4096;
const QUEUE_BYTES_MAX: usize = 8 << 20;
/// The most events that are published before a heartbeat that is due.
const BATCH_MAX: usize = 500;
/// With more unpublished events than this the relay skips to the head: consumers have heard the heartbeats and replay.
const BACKLOG_MAX: Position = 10_000;

/// The relay of one owner of a stream's lease.
pub(crate) struct Relay {
    queue: Mutex<Queue>,
    pushed: Notify,
    through: AtomicI64,
    away: AtomicBool,
    metrics: OfStream,
    continues: Option<Continues>,
}

struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    head: Head,
}

impl Queue {
    fn push(&mut self, events: Vec<Event>) {
        self.bytes += bytes_of(&events);
        self.events.extend(events);
        if self.events.len() > QUEUE_MAX || self.bytes > QUEUE_BYTES_MAX {
            self.events.clear();
            self.bytes = 0;
        }
    }

    /// Takes the first of the events.
    fn take(&mut self, count: usize) -> Vec<Event> {
        let taken: Vec<Event> = self.events.drain(..count.min(self.events.len())).collect();
        self.bytes -= bytes_of(&taken);
        taken
    }
}

/// Leaves of a batch what a crash in the middle of it would leave. The pipeline that ships has no moment between two
/// messages, so while a test has armed this point, and only then, the first message goes apart from the others.
async fn publish_first_apart<C: Channel>(
    bus: &C,
    stream: &str,
    messages: &mut Vec<Outgoing>,
) -> Result<(), PublishError> {
    if fault::is_armed!("relay.published_one", stream) && messages.len() > 1 {
        bus.publish(vec![messages.remove(0)]).await?;
        fault::point!("relay.published_one", stream);
    }
    Ok(())
}

fn bytes_of(events: &[Event]) -> usize {
    events.iter().map(|event| event.new.payload.len()).sum()
}

/// Why something was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// Redis takes no messages.
    #[error(transparent)]
    Away(#[from] PublishError),
    /// The events cannot be read from the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Relay {
    pub(crate) fn new(head: Head, lease: &Lease, metrics: OfStream, continues: Option<Continues>) -> Self {
        Self {
            queue: Mutex::new(Queue { events: VecDeque::new(), bytes: 0, head }),
            pushed: Notify::new(),
            through: AtomicI64::new(lease.published_through),
            away: AtomicBool::new(false),
            metrics,
            continues,
        }
    }

    /// Whether the last attempt to publish failed.
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// The newest position that was published.
    pub(crate) fn through(&self) -> Position {
        self.through.load(Ordering::Relaxed)
    }

    /// Takes events that were just stamped.
    pub(crate) fn push(&self, events: Vec<Event>) {
        let Some(last) = events.last() else { return };
        let mut queue = self.lock();
        queue.head.position = last.position;
        queue.head.event_id = Some(last.new.id);
        if queue.head.oldest == 0 {
            queue.head.oldest = events[0].position;
        }
        queue.push(events);
        drop(queue);
        self.pushed.notify_one();
    }

    /// Takes the oldest position that pruning left.
    pub(crate) fn set_oldest(&self, oldest: Position) {
        self.lock().head.oldest = oldest;
    }

    /// Publishes until the future is dropped.
    pub(crate) async fn run<S: OutboxStore, C: Channel>(
        &self,
        store: &S,
        bus: &C,
        options: &SequencerOptions,
    ) {
        let mut warnings = Throttle::default();
        let mut heartbeat = interval(options.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut more = false;
        loop {
            let due = tokio::select! {
                biased;
                _ = heartbeat.tick() => true,
                () = std::future::ready(()), if more => false,
                // While Redis is away only the heartbeat tries it.
                () = self.pushed.notified(), if !self.is_away() => false,
            };
            match self.publish(store, bus, due).await {
                Ok(left) => {
                    more = left;
                    if self.away.swap(false, Ordering::Relaxed) {
                        tracing::info!("Redis is back; publishing events again");
                    }
                }
                Err(RelayError::Away(error)) => {
                    more = false;
                    if !self.away.swap(true, Ordering::Relaxed) || warnings.ready() {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            error,
                            "cannot publish events now; consumers follow the stream instead"
                        );
                    }
                }
                // The next heartbeat tries again.
                Err(RelayError::Store(error)) => {
                    more = false;
                    if warnings.ready() {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "cannot read the events to be published now; trying again");
                    }
                }
            }
        }
    }

    /// Publishes everything that is stamped and not published, then a heartbeat.
    pub(crate) async fn publish_all<S: OutboxStore, C: Channel>(
        &self,
        store: &S,
        bus: &C,
    ) -> Result<(), RelayError> {
        while self.publish(store, bus, false).await? {}
        self.publish(store, bus, true).await.map(drop)
    }

    /// Publishes a batch of what is stamped and not published, and a heartbeat if it is due; `true` when more is left.
    /// While Redis is away a heartbeat is tried first, and nothing is read from the store before it has been taken.
    async fn publish<S: OutboxStore, C: Channel>(
        &self,
        store: &S,
        bus: &C,
        mut heartbeat: bool,
    ) -> Result<bool, RelayError> {
        if self.is_away() {
            let head = Head { position: self.through(), event_id: None, ..self.lock().head.clone() };
            bus.publish(vec![(events_channel(&head.stream), channel_head(&head))]).await?;
            heartbeat = false;
        }
        let (events, mut head) = self.next_batch(store).await?;
        let last = events.last().map(|event| event.position);
        let complete = last.unwrap_or(self.through()) >= head.position;
        if let (false, Some(last)) = (complete, events.last()) {
            // A heartbeat must not be ahead of what was published before it: that would look like a lost event.
            head.position = last.position;
            head.event_id = Some(last.new.id);
        }
        let channel = events_channel(&head.stream);
        let mut messages: Vec<Outgoing> =
            events.iter().map(|event| (channel.clone(), channel_event(event))).collect();
        publish_first_apart(bus, &head.stream, &mut messages).await?;
        if heartbeat {
            messages.push((channel, channel_head(&head)));
        }
        if messages.is_empty() {
            return Ok(false);
        }
        let span = send(&events, self.continues);
        bus.publish(messages).instrument(span).await?;
        if let Some(last) = last {
            self.metrics.published(events.len());
            fault::point!("relay.published", &head.stream);
            self.through.store(last, Ordering::Relaxed);
        }
        Ok(!complete)
    }

    /// The next events to publish: from memory if they follow what was published, else from the store.
    async fn next_batch<S: OutboxStore>(&self, store: &S) -> Result<(Vec<Event>, Head), StoreError> {
        let mut through = self.through();
        let (stream, backlog) = {
            let mut queue = self.lock();
            let old = queue.events.iter().take_while(|event| event.position <= through).count();
            queue.take(old);
            let follows = queue.events.front().is_some_and(|event| event.position == through + 1);
            if follows || queue.head.position <= through {
                let events = if follows { queue.take(BATCH_MAX) } else { Vec::new() };
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
            // The relay is too far behind, or the events are pruned already.
            through = queue.head.position;
            self.through.store(through, Ordering::Relaxed);
        }
        Ok((events, queue.head.clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{EPOCH, event};

    #[test]
    fn what_waits_for_the_bus_is_bounded_by_bytes_too() {
        let head = Head { stream: "s".to_owned(), epoch: EPOCH, position: 0, event_id: None, oldest: 0 };
        let mut queue = Queue { events: VecDeque::new(), bytes: 0, head };
        for position in 1..=QUEUE_MAX {
            let mut event = event("s", Position::try_from(position).unwrap());
            event.new.payload = vec![0; 32 << 10].into();
            queue.push(vec![event]);
            let bytes: usize = queue.events.iter().map(|event| event.new.payload.len()).sum();
            assert!(bytes <= QUEUE_BYTES_MAX && bytes == queue.bytes, "{bytes}");
        }
        queue.take(3);
        assert_eq!(queue.bytes, queue.events.len() * (32 << 10));
    }
}
