//! Publishes streams whose writers assign the positions themselves, such as the session service's. Nothing is stamped
//! here, and nobody replays these streams. A new owner of the lease starts at the head; if events before that were
//! never published, listeners notice it by the next heartbeat.

use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::bus::{Channel, Outgoing, Signal, events_channel, wake_channel};
use crate::cloud_event::{channel_event, channel_head};
use crate::envelope::{Event, Position};
use crate::pace::{Backoff, Throttle, jittered};
use crate::sequencer::metrics::OfStream;
use crate::spans::{Continues, send};
use crate::stamped::Stamped;
use crate::store::{Head, RelayLease, StoreError};

/// How a [`LogRelay`] paces itself.
#[derive(Debug, Clone)]
pub struct LogRelayOptions {
    /// How long the lease lasts unless it is renewed.
    pub lease: Duration,
    /// The longest that an event waits when there was no hint of it.
    pub poll: Duration,
    /// How often each stream's head is published.
    pub heartbeat: Duration,
    /// Makes a new span part of the traces with these `traceparent`s.
    pub continues: Option<Continues>,
}

impl Default for LogRelayOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(3),
            poll: Duration::from_millis(250),
            heartbeat: Duration::from_millis(250),
            continues: None,
        }
    }
}

/// The most events of a stream that are published at once.
const BATCH_MAX: usize = 500;
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LONGEST: Duration = Duration::from_secs(1);
/// How long giving the lease back at a shutdown may take.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);
/// The shortest time between two hints that a replica without the lease passes on.
const HINT_PAUSE: Duration = Duration::from_millis(2);

/// Publishes the streams of one log, whenever it has the lease.
pub struct LogRelay<L, C> {
    log: L,
    streams: Vec<String>,
    bus: C,
    options: LogRelayOptions,
    stamped: Stamped,
    owner: Uuid,
    metrics: OfStream,
}

impl<L, C> fmt::Debug for LogRelay<L, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogRelay").field("streams", &self.streams).finish_non_exhaustive()
    }
}

/// How far a stream was published.
struct Cursor {
    head: Head,
}

impl<L: RelayLease, C: Channel> LogRelay<L, C> {
    /// A relay of these streams of the log, which metrics call `name` together.
    pub fn new(
        name: &str,
        log: L,
        streams: impl IntoIterator<Item = String>,
        bus: C,
        options: LogRelayOptions,
    ) -> Self {
        let (streams, metrics) = (streams.into_iter().collect(), OfStream::new(name));
        Self { log, streams, bus, options, stamped: Stamped::new(), owner: Uuid::new_v4(), metrics }
    }

    /// Wakes followers in this process through `stamped`.
    #[must_use]
    pub fn with_stamped(mut self, stamped: Stamped) -> Self {
        self.stamped = stamped;
        self
    }

    /// Runs until the shutdown, then gives the lease back.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
        let mut warnings = Throttle::default();
        loop {
            let failed = tokio::select! {
                () = shutdown.cancelled() => break,
                held = self.log.hold(self.owner, self.options.lease) => match held {
                    Ok(true) => tokio::select! {
                        () = shutdown.cancelled() => break,
                        outcome = self.own(&mut backoff) => outcome.err(),
                    },
                    Ok(false) => {
                        backoff.reset();
                        tokio::select! {
                            () = shutdown.cancelled() => break,
                            () = sleep(jittered(self.options.lease / 3)) => {}
                            () = self.pass_hints_on() => {}
                        }
                        None
                    }
                    Err(error) => Some(error),
                },
            };
            if let Some(error) = failed {
                if warnings.ready() {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot read or lease the streams to publish; trying again");
                }
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = backoff.pause() => {}
                }
            }
        }
        let release = self.log.hold(self.owner, Duration::ZERO);
        if tokio::time::timeout(SHUTDOWN_MAX, release).await.is_err() {
            tracing::debug!("could not give the relay's lease back; it runs out by itself");
        }
    }

    /// One relay publishes all streams, so hints go over the channel of the first.
    fn wake_channel(&self) -> Option<String> {
        self.streams.first().map(|stream| wake_channel(stream))
    }

    async fn pass_hints_on(&self) {
        loop {
            self.log.appended().await;
            let hint: Vec<Outgoing> =
                self.wake_channel().into_iter().map(|channel| (channel, bytes::Bytes::new())).collect();
            if self.bus.publish(hint).await.is_err() {
                sleep(self.options.poll).await;
            }
            sleep(HINT_PAUSE).await;
        }
    }

    /// Publishes until the lease is lost or the store fails.
    async fn own(&self, backoff: &mut Backoff) -> Result<(), StoreError> {
        let heads = join_all(self.streams.iter().map(|stream| self.log.head(stream))).await;
        let mut cursors = Vec::with_capacity(heads.len());
        for (head, stream) in heads.into_iter().zip(&self.streams) {
            let head = head?.ok_or_else(|| unknown(stream))?;
            cursors.push(Cursor { head });
        }
        tracing::info!(streams = self.streams.len(), "took the lease; publishing the streams");
        let _owned = self.metrics.owned();
        let mut wakes = self.bus.subscribe(self.wake_channel().into_iter().collect(), None);
        let mut heartbeat = interval(self.options.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        let mut warnings = Throttle::default();
        loop {
            let (due, only) = tokio::select! {
                _ = heartbeat.tick() => (true, None),
                streams = self.log.appended() => (false, Some(streams)),
                () = sleep(jittered(self.options.poll)) => (false, None),
                signal = wakes.next() => {
                    if !matches!(signal, Signal::Message { .. }) {
                        continue;
                    }
                    (false, None)
                }
            };
            if renewed.elapsed() >= self.options.lease / 3 {
                renewed = Instant::now();
                if !self.log.hold(self.owner, self.options.lease).await? {
                    tracing::info!("lost the lease; another replica publishes the streams");
                    return Ok(());
                }
            }
            self.publish(&mut cursors, only.as_deref(), due, &mut warnings).await?;
            backoff.reset();
        }
    }

    /// Publishes the new events of all streams or of some, and the heads of all streams if they are due.
    async fn publish(
        &self,
        cursors: &mut [Cursor],
        only: Option<&[String]>,
        due: bool,
        warnings: &mut Throttle,
    ) -> Result<(), StoreError> {
        let is_read = |cursor: &Cursor| only.is_none_or(|streams| streams.contains(&cursor.head.stream));
        loop {
            let heads = cursors.iter().filter(|cursor| is_read(cursor)).map(|cursor| &cursor.head);
            let reads = heads.map(|head| self.log.read_after(&head.stream, head.position, BATCH_MAX));
            let batches = join_all(reads).await;
            let mut messages: Vec<Outgoing> = Vec::new();
            let mut events: Vec<Event> = Vec::new();
            let mut more = false;
            let read = cursors.iter_mut().filter(|cursor| is_read(cursor));
            for (batch, cursor) in batches.into_iter().zip(read) {
                let batch = batch?;
                more |= batch.len() >= BATCH_MAX;
                let channel = events_channel(&cursor.head.stream);
                messages.extend(batch.iter().map(|event| (channel.clone(), channel_event(event))));
                if let Some(last) = batch.last() {
                    cursor.head.position = last.position;
                    cursor.head.event_id = Some(last.new.id);
                    cursor.head.epoch = last.epoch;
                    fault::point!("relay.read", &cursor.head.stream);
                }
                events.extend(batch);
            }
            self.stamped.beat(!messages.is_empty());
            if due && !more {
                self.refresh(cursors).await?;
                let heads = cursors.iter().map(|cursor| &cursor.head);
                messages.extend(heads.map(|head| (events_channel(&head.stream), channel_head(head))));
            }
            if !messages.is_empty() {
                let span = send(&events, self.options.continues);
                match self.bus.publish(messages).instrument(span).await {
                    Ok(()) => self.metrics.published(events.len()),
                    // Nothing is published again: the next heartbeat tells listeners that events are missing.
                    Err(error) => {
                        if warnings.ready() {
                            let error = &error as &dyn std::error::Error;
                            tracing::warn!(error, "cannot publish events now; caches are not used meanwhile");
                        }
                    }
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Skips to the head of a stream that began anew, or that was trimmed beyond what was published.
    async fn refresh(&self, cursors: &mut [Cursor]) -> Result<(), StoreError> {
        let heads = join_all(cursors.iter().map(|cursor| self.log.head(&cursor.head.stream))).await;
        for (head, cursor) in heads.into_iter().zip(cursors) {
            let now = head?.ok_or_else(|| unknown(&cursor.head.stream))?;
            let next: Position = cursor.head.position + 1;
            let began_anew = now.epoch != cursor.head.epoch || now.position < cursor.head.position;
            let trimmed = now.position >= next && (now.oldest == 0 || now.oldest > next);
            if began_anew || trimmed {
                cursor.head = now;
            } else {
                cursor.head.oldest = now.oldest;
            }
        }
        Ok(())
    }
}

fn unknown(stream: &str) -> StoreError {
    StoreError::Permanent(format!("the log has no stream {stream}").into())
}
