//! The relay of streams without an outbox, and the caches that listen to it, in virtual time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use events::{
    Aggregate, Ephemeral, Event, EventLog, Head, Headers, Listener, LogRelay, LogRelayOptions, NewEvent,
    OutboxStore as _, Position, RelayLease, Resolved, StoreError,
};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use types::EventId;
use uuid::Uuid;

use crate::lossy::{Faults, Lossy};
use crate::memory::MemoryOutbox;

const STREAMS: [&str; 3] = ["session-00", "session-01", "session-02"];

/// A log whose writers assign the positions, so that an appended event has one at once.
#[derive(Clone)]
struct MemoryLog {
    streams: Arc<HashMap<&'static str, MemoryOutbox>>,
    lease: Arc<Mutex<Option<(Uuid, Instant)>>>,
    appended: Arc<Appended>,
}

/// The streams that were appended to.
#[derive(Default)]
struct Appended {
    streams: Mutex<Vec<String>>,
    told: Notify,
}

impl MemoryLog {
    fn new() -> Self {
        Self {
            streams: Arc::new(STREAMS.map(|stream| (stream, MemoryOutbox::new(stream))).into()),
            lease: Arc::default(),
            appended: Arc::default(),
        }
    }

    async fn append(&self, stream: &str, key: u8) {
        let outbox = &self.streams[stream];
        let event = NewEvent {
            id: EventId::from_uuid(Uuid::now_v7()),
            aggregate: Aggregate::new("key", key),
            aggregate_version: outbox.ids().len() as i64 + 1,
            event_type: "test.v1.Changed".to_owned(),
            schema_version: 1,
            payload: bytes::Bytes::new(),
            headers: Headers::default(),
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        outbox.commit(vec![event]).unwrap();
        let writer = Uuid::from_u128(1);
        let lease = outbox.lease(stream, writer, Duration::from_secs(9)).await.unwrap().unwrap();
        outbox.stamp(&lease, 10, Duration::from_secs(9)).await.unwrap();
        self.appended.streams.lock().unwrap().push(stream.to_owned());
        self.appended.told.notify_one();
    }
}

impl EventLog for MemoryLog {
    async fn head(&self, stream: &str) -> Result<Option<Head>, StoreError> {
        self.streams[stream].head(stream).await
    }

    async fn read_after(
        &self,
        stream: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        self.streams[stream].read_after(stream, after, limit).await
    }

    async fn event_id_at(&self, stream: &str, position: Position) -> Result<Option<EventId>, StoreError> {
        self.streams[stream].event_id_at(stream, position).await
    }

    async fn resolve(&self, _: EventId) -> Result<Resolved, StoreError> {
        Ok(Resolved::Unknown)
    }

    async fn acknowledge(&self, _: &str, _: &str, _: Uuid, _: Position) -> Result<bool, StoreError> {
        Ok(false)
    }
}

impl RelayLease for MemoryLog {
    async fn hold(&self, owner: Uuid, duration: Duration) -> Result<bool, StoreError> {
        tokio::task::yield_now().await;
        let mut lease = self.lease.lock().unwrap();
        let now = Instant::now();
        let free = lease.is_none_or(|(holder, until)| holder == owner || until <= now);
        if free {
            *lease = Some((owner, now + duration));
        }
        Ok(free)
    }

    async fn appended(&self) -> Vec<String> {
        self.appended.told.notified().await;
        std::mem::take(&mut self.appended.streams.lock().unwrap())
    }
}

/// A cache of values, and the true values to compare it with.
#[derive(Clone, Default)]
struct Cache(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    live: HashMap<String, bool>,
    kept: HashMap<(String, String), u64>,
    truth: HashMap<(String, String), (u64, Option<Instant>)>,
    events: usize,
}

impl Cache {
    /// Changes a true value.
    fn change(&self, stream: &str, key: u8) {
        let mut contents = self.0.lock().unwrap();
        let entry = contents.truth.entry((stream.to_owned(), key.to_string())).or_default();
        *entry = (entry.0 + 1, Some(Instant::now()));
    }

    /// Reads through the cache, and gives how long the answer has been wrong.
    fn read(&self, stream: &str, key: u8) -> Duration {
        let mut contents = self.0.lock().unwrap();
        let key = (stream.to_owned(), key.to_string());
        let (value, changed) = contents.truth.get(&key).copied().unwrap_or_default();
        if !contents.live.get(stream).copied().unwrap_or_default() {
            return Duration::ZERO;
        }
        let kept = *contents.kept.entry(key).or_insert(value);
        if kept == value { Duration::ZERO } else { changed.map_or(Duration::ZERO, |at| at.elapsed()) }
    }

    fn all_live(&self) -> bool {
        let contents = self.0.lock().unwrap();
        STREAMS.iter().all(|stream| contents.live.get(*stream) == Some(&true))
    }

    fn events(&self) -> usize {
        self.0.lock().unwrap().events
    }
}

impl Listener for Cache {
    fn on_event(&self, event: &Event) {
        let mut contents = self.0.lock().unwrap();
        contents.events += 1;
        contents.kept.remove(&(event.stream.clone(), event.new.aggregate.id.clone()));
    }

    fn on_clear(&self, stream: &str) {
        self.0.lock().unwrap().kept.retain(|(of, _), _| of != stream);
    }

    fn on_live(&self, stream: &str, live: bool) {
        self.0.lock().unwrap().live.insert(stream.to_owned(), live);
    }
}

struct Scene {
    log: MemoryLog,
    channel: Lossy,
    cache: Cache,
    running: JoinSet<()>,
    relays: Vec<AbortHandle>,
}

impl Scene {
    fn start() -> Self {
        let (log, channel, cache) = (MemoryLog::new(), Lossy::default(), Cache::default());
        let mut running = JoinSet::new();
        let ephemeral = Ephemeral::new(STREAMS.map(str::to_owned), channel.clone(), cache.clone());
        running.spawn(ephemeral.run(CancellationToken::new()));
        let mut scene = Self { log, channel, cache, running, relays: Vec::new() };
        scene.start_relay();
        scene
    }

    fn start_relay(&mut self) {
        let streams = STREAMS.map(str::to_owned);
        let relay = LogRelay::new(
            "caches",
            self.log.clone(),
            streams,
            self.channel.clone(),
            LogRelayOptions::default(),
        );
        self.relays.push(self.running.spawn(relay.run(CancellationToken::new())));
    }

    async fn change(&self) {
        let (stream, key) = (STREAMS[fastrand::usize(..3)], fastrand::u8(0..5));
        self.cache.change(stream, key);
        self.log.append(stream, key).await;
    }

    /// The longest time that any answer has been wrong.
    fn staleness(&self) -> Duration {
        let all = STREAMS.iter().flat_map(|stream| (0..5).map(|key| self.cache.read(stream, key)));
        all.max().unwrap_or_default()
    }

    async fn until_live(&self) {
        let give_up = Instant::now() + Duration::from_secs(10);
        while !self.cache.all_live() {
            assert!(Instant::now() < give_up, "the streams are not live");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_reaches_the_cache_at_once() {
    let scene = Scene::start();
    scene.until_live().await;
    for turn in 1..200 {
        scene.staleness();
        scene.change().await;
        sleep(Duration::from_millis(2)).await;
        assert_eq!(scene.staleness(), Duration::ZERO, "after {turn} changes");
        assert_eq!(scene.cache.events(), turn, "by its event, not by forgetting everything");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_relay_nothing_is_live_and_another_one_takes_over() {
    let mut scene = Scene::start();
    scene.until_live().await;
    scene.start_relay();
    sleep(Duration::from_secs(2)).await;
    scene.relays.remove(0).abort();
    sleep(Duration::from_secs(1)).await;
    assert!(!scene.cache.all_live(), "nobody tells of changes");
    scene.change().await;
    scene.until_live().await;
    scene.change().await;
    sleep(Duration::from_millis(5)).await;
    assert_eq!(scene.staleness(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn in_every_disorder_a_live_cache_is_wrong_for_two_seconds_at_the_most() {
    for seed in 0..30 {
        fastrand::seed(seed);
        let mut scene = Scene::start();
        scene.start_relay();
        for _ in 0..600 {
            if fastrand::u8(0..3) == 0 {
                scene.change().await;
            }
            match fastrand::u8(..) {
                0..8 => scene.channel.set(Faults {
                    drop: [0.0, 0.1, 0.9, 1.0][fastrand::usize(..4)],
                    repeat: [0.0, 0.5][fastrand::usize(..2)],
                    delay: [0.0, 0.0, 0.5][fastrand::usize(..3)],
                }),
                8..10 => scene.channel.cut(),
                10 => scene.channel.set_down(true),
                11..14 => scene.channel.set_down(false),
                14 => {
                    scene.relays.remove(0).abort();
                    scene.start_relay();
                }
                _ => {}
            }
            sleep(Duration::from_millis(fastrand::u64(0..40))).await;
            let staleness = scene.staleness();
            assert!(staleness < Duration::from_secs(2), "seed {seed}: {staleness:?}");
        }
        scene.channel.set_down(false);
        scene.channel.set(Faults::default());
        sleep(Duration::from_secs(8)).await;
        scene.until_live().await;
        assert_eq!(scene.staleness(), Duration::ZERO, "seed {seed}");
    }
}
