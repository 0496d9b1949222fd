//! The engine over a real Redis, real connections, and `EventService` over TCP. The databases are still models; the
//! services' tests have real ones.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use events::bus::{Bus, Channel as _, Signal, Subscription, events_channel};
use events::service::EventServer;
use events::source::GrpcSource;
use events::{
    Aggregate, Consumer, ConsumerOptions, Headers, NewEvent, Position, Sequencer, SequencerOptions, Stamped,
};
use testkit::{Lifetime, Port, Redis, RedisUse, State, TestRedis, wait_until};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Server};
use types::EventId;
use uuid::Uuid;

use crate::memory::{MemoryOutbox, MemoryStore};
use crate::world::{Noting, READER, check};

const SOON: Duration = Duration::from_secs(10);

/// A server that belongs to one test, which may kill it.
async fn own_redis() -> (Arc<State>, Redis) {
    let state = Arc::new(State::for_run(&testkit::state::base()).await.unwrap());
    let redis =
        Redis::start(&state, RedisUse::EventsAndCache, Port::Free, Lifetime::WithParent).await.unwrap();
    (state, redis)
}

async fn end(state: Arc<State>, redis: Redis) {
    redis.stop().await.unwrap();
    drop(redis);
    Arc::into_inner(state).unwrap().remove().unwrap();
}

fn message(text: &str) -> Signal {
    Signal::Message { channel: "events.x".to_owned(), payload: Bytes::copy_from_slice(text.as_bytes()) }
}

async fn next(subscription: &mut Subscription) -> Signal {
    timeout(SOON, subscription.next()).await.expect("a signal in time")
}

async fn publish(bus: &Bus, texts: &[&str]) {
    let messages = texts.iter().map(|text| ("events.x".to_owned(), Bytes::copy_from_slice(text.as_bytes())));
    bus.publish(messages.collect()).await.unwrap();
}

#[tokio::test]
async fn a_message_is_heard_by_every_bus_of_its_database_and_by_no_other() {
    let (one, other) = (TestRedis::events().await.unwrap(), TestRedis::events().await.unwrap());
    let bus = Bus::connect(one.url()).unwrap();
    let listeners = [&bus, &Bus::connect(one.url()).unwrap(), &Bus::connect(other.url()).unwrap()];
    let channels = vec!["events.x".to_owned(), "events.y".to_owned()];
    let mut heard = listeners.map(|bus| bus.subscribe(channels.clone(), None));
    for subscription in &mut heard {
        assert_eq!(next(subscription).await, Signal::Subscribed);
    }
    let texts: Vec<String> = (0..1200).map(|number| number.to_string()).collect();
    publish(&bus, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    publish(&Bus::connect(other.url()).unwrap(), &["other"]).await;
    let [mine, second, others] = &mut heard;
    for text in &texts {
        assert_eq!(next(mine).await, message(text), "in order");
        assert_eq!(next(second).await, message(text));
    }
    assert_eq!(next(others).await, message("other"));
}

#[tokio::test]
async fn a_bus_without_a_redis_neither_fails_nor_blocks() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let bus = Bus::connect(format!("redis://127.0.0.1:{port}/0")).unwrap();
    let mut subscription = bus.subscribe(vec!["events.x".to_owned()], None);
    for _ in 0..3 {
        let asked = Instant::now();
        bus.publish(vec![("events.x".to_owned(), Bytes::new())]).await.unwrap_err();
        assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
    }
    timeout(Duration::from_millis(200), subscription.next()).await.unwrap_err();
    assert!(Bus::connect("not a url").is_err());
}

#[tokio::test]
async fn a_killed_redis_is_always_reported_as_a_lost_connection() {
    let (state, redis) = own_redis().await;
    let bus = Bus::connect(redis.url(0)).unwrap();
    let mut subscription = bus.subscribe(vec!["events.x".to_owned()], None);
    assert_eq!(next(&mut subscription).await, Signal::Subscribed);
    publish(&bus, &["before"]).await;
    assert_eq!(next(&mut subscription).await, message("before"));
    redis.process().kill().await.unwrap();
    assert_eq!(next(&mut subscription).await, Signal::Lost);
    redis.restart().await.unwrap();
    assert_eq!(next(&mut subscription).await, Signal::Subscribed);
    wait_until(SOON, "the publisher's connection", async || {
        bus.publish(vec![("events.y".to_owned(), Bytes::new())]).await
    })
    .await
    .unwrap();
    publish(&bus, &["after"]).await;
    assert_eq!(next(&mut subscription).await, message("after"));
    end(state, redis).await;
}

#[tokio::test]
async fn a_silent_connection_is_made_anew_where_heartbeats_are_due() {
    let (state, redis) = own_redis().await;
    let bus = Bus::connect(redis.url(0)).unwrap();
    let mut subscription = bus.subscribe(vec!["events.x".to_owned()], Some(Duration::from_millis(100)));
    assert_eq!(next(&mut subscription).await, Signal::Subscribed);
    redis.process().pause().unwrap();
    assert_eq!(next(&mut subscription).await, Signal::Lost);
    let asked = Instant::now();
    bus.publish(vec![("events.x".to_owned(), Bytes::new())]).await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_millis(2500), "{:?}", asked.elapsed());
    redis.process().resume().unwrap();
    assert_eq!(next(&mut subscription).await, Signal::Subscribed);
    end(state, redis).await;
}

/// A producer and a consumer, as two services have them.
struct Pair {
    outbox: MemoryOutbox,
    store: MemoryStore,
    committed: Vec<EventId>,
    shutdown: CancellationToken,
    running: JoinSet<()>,
}

impl Pair {
    async fn start(redis_url: &str) -> Self {
        let outbox = MemoryOutbox::new(READER.stream);
        outbox.register(READER.name);
        let (stamped, shutdown) = (Stamped::new(), CancellationToken::new());
        let bus = Bus::connect(redis_url).unwrap();
        let mut running = JoinSet::new();
        let sequencer =
            Sequencer::new(outbox.clone(), READER.stream, bus.clone(), SequencerOptions::default())
                .with_stamped(stamped.clone());
        running.spawn(sequencer.run(shutdown.clone()));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = EventServer::new(outbox.clone(), shutdown.clone()).with_stamped(stamped).into_service();
        let drained = shutdown.clone().cancelled_owned();
        let serving = Server::builder().tcp_nodelay(true).add_service(server);
        running.spawn(async move {
            serving.serve_with_incoming_shutdown(TcpListenerStream::new(listener), drained).await.unwrap();
        });

        let channel = Channel::from_shared(format!("http://{address}")).unwrap().tcp_nodelay(true);
        let source = GrpcSource::new(channel.connect_lazy());
        let store = MemoryStore::default();
        let effects = Arc::new(Noting::default());
        let consumer = Consumer::new(READER, store.clone(), effects, source, bus, ConsumerOptions::default());
        running.spawn(consumer.run(shutdown.clone()));
        Self { outbox, store, committed: Vec::new(), shutdown, running }
    }

    fn write(&mut self) {
        let event = NewEvent {
            id: EventId::from_uuid(Uuid::now_v7()),
            aggregate: Aggregate::new("thing", self.committed.len()),
            aggregate_version: 1,
            event_type: "test.v1.Happened".to_owned(),
            schema_version: 1,
            payload: Bytes::from_static(b"hello"),
            headers: Headers::default(),
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        self.committed.push(event.id);
        self.outbox.commit(vec![event]).unwrap();
    }

    async fn until_applied(&self) {
        let head = self.committed.len() as Position;
        wait_until(SOON, "the consumer at the head", async || {
            let (mark, halted) = self.store.stands(READER).await;
            if mark.position == head { Ok(()) } else { Err(format!("{mark:?} of {head}, {halted:?}")) }
        })
        .await
        .unwrap();
    }

    async fn finish(mut self) {
        check(&self.committed, &self.outbox.ids(), &self.store.applied().await).unwrap();
        self.shutdown.cancel();
        let ended =
            timeout(SOON, async { while self.running.join_next().await.transpose().unwrap().is_some() {} });
        ended.await.expect("everything ends at the shutdown");
    }
}

#[tokio::test]
async fn events_arrive_with_redis_and_without_it_and_after_it_came_back() {
    let (state, redis) = own_redis().await;
    let mut pair = Pair::start(&redis.url(0)).await;
    for turn in 0..3 {
        for _ in 0..50 {
            pair.write();
        }
        pair.until_applied().await;
        match turn {
            0 => redis.process().kill().await.unwrap(),
            1 => redis.restart().await.unwrap(),
            _ => {}
        }
    }
    pair.finish().await;
    end(state, redis).await;
}

#[tokio::test]
async fn a_replica_that_is_shut_down_gives_its_leases_back_at_once() {
    let redis = TestRedis::events().await.unwrap();
    let mut pair = Pair::start(redis.url()).await;
    pair.write();
    pair.until_applied().await;
    let (outbox, store) = (pair.outbox.clone(), pair.store.clone());
    pair.finish().await;
    use events::{ConsumerStore as _, OutboxStore as _};
    let other = Uuid::new_v4();
    assert!(outbox.lease(READER.stream, other, SOON).await.unwrap().is_some());
    assert!(store.mark_lease(READER, other, SOON).await.unwrap().is_some());
    assert_eq!(outbox.published_through(), 1, "what was published was noted");
}

#[tokio::test]
async fn what_is_no_message_of_ours_is_passed_over() {
    let redis = TestRedis::events().await.unwrap();
    let mut pair = Pair::start(redis.url()).await;
    pair.write();
    pair.until_applied().await;
    let stranger = Bus::connect(redis.url()).unwrap();
    for junk in [&b"\xff\xff\xff"[..], b"", b"hello"] {
        let channel = events_channel(READER.stream);
        stranger.publish(vec![(channel, Bytes::from_static(junk))]).await.unwrap();
    }
    pair.write();
    pair.until_applied().await;
    pair.finish().await;
}
