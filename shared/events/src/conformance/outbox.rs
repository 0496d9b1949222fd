//! What every [`OutboxStore`] does, whatever its database.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all, join3};
use types::EventId;
use uuid::Uuid;

use super::{aggregate, new_event, until};
use crate::envelope::{Aggregate, Event, Headers, NewEvent, Position};
use crate::pace::chain;
use crate::store::{EventLog as _, Head, Lease, OutboxStore, Resolved, Silent, Stamp, StoreError};

/// A service's outbox on a fresh database: one empty stream, no consumer registered. At most 16 transactions
/// are open at once.
pub trait OutboxHarness: Send + Sync + 'static {
    /// The store.
    type Store: OutboxStore;
    /// A write transaction of the service.
    type Tx: Send;

    /// The store; every call may give the same.
    fn store(&self) -> Self::Store;

    /// The stream that events of [`OutboxHarness::append`] are in.
    fn stream(&self) -> String;

    /// Begins a transaction and leaves it open: several are open at once.
    fn begin(&self) -> impl Future<Output = Self::Tx> + Send;

    /// Appends an event, as it is, by what the service's `Tx::event_append` does. Called in the order of an
    /// aggregate's versions, as a caller that locks the aggregate would.
    fn append(
        &self,
        tx: &mut Self::Tx,
        event: NewEvent,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Commits.
    fn commit(&self, tx: Self::Tx) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Rolls back.
    fn rollback(&self, tx: Self::Tx) -> impl Future<Output = ()> + Send;

    /// Registers a consumer of the stream, as a migration would, with nothing acknowledged.
    fn register(&self, consumer: &str) -> impl Future<Output = ()> + Send;

    /// Makes the store find, at its next lease, that the database server is not the one that the stream was
    /// stamped on: changes the identity that is kept beside the lease.
    fn move_to_another_server(&self) -> impl Future<Output = ()> + Send;
}

/// Makes a test of each scenario of this suite; takes an `async fn() -> impl OutboxHarness`.
#[macro_export]
macro_rules! outbox_suite {
    ($start:expr) => {
        $crate::conformance_tests!(
            outbox,
            $start,
            an_event_is_stamped_as_it_was_appended,
            positions_are_dense_over_rollbacks_and_slow_writers,
            concurrent_writers_lose_nothing_and_keep_their_order,
            a_lower_version_is_stamped_first,
            a_version_beyond_the_batch_is_stamped_between_its_neighbours,
            a_version_is_taken_once,
            a_stamp_takes_no_more_than_its_limit,
            one_owner_at_a_time_has_the_lease,
            a_step_with_nothing_to_do_is_known_by_a_look,
            a_stale_owner_writes_nothing,
            two_sequencers_never_stamp_an_event_twice,
            steps_of_one_lease_at_once_stamp_each_event_once,
            a_new_server_makes_a_new_epoch,
            pages_of_a_replay_join,
            an_acknowledgement_needs_a_registered_consumer,
            pruning_keeps_the_event_at_the_smallest_mark,
            pruning_keeps_what_is_young,
            a_consumer_that_fell_silent_is_named,
        );
    };
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);

async fn append_one<H: OutboxHarness>(harness: &H, event: NewEvent) {
    let mut tx = harness.begin().await;
    harness.append(&mut tx, event).await.expect("the event is appended");
    harness.commit(tx).await.expect("the transaction commits");
}

/// Appends so many events of aggregates of their own.
async fn append_many<H: OutboxHarness>(harness: &H, count: usize) -> Vec<NewEvent> {
    let mut events = Vec::new();
    for number in 0..count {
        let event = new_event(&aggregate(&format!("many-{number}")), 1);
        append_one(harness, event.clone()).await;
        events.push(event);
    }
    events
}

async fn lease<H: OutboxHarness>(harness: &H, owner: Uuid, duration: Duration) -> Option<Lease> {
    harness.store().lease(&harness.stream(), owner, duration).await.expect("the lease is answered")
}

async fn leased<H: OutboxHarness>(harness: &H) -> Lease {
    lease(harness, Uuid::new_v4(), LONG).await.expect("the lease is free")
}

async fn stamp<H: OutboxHarness>(harness: &H, lease: &Lease, limit: usize) -> Vec<Event> {
    until("a step of the sequencer", async || match harness.store().stamp(lease, limit, LONG).await {
        Ok(Stamp::Stamped(events)) => Some(events),
        Ok(Stamp::LeaseLost) => panic!("the lease was lost"),
        Err(StoreError::Transient(_)) => None,
        Err(error) => panic!("{}", chain(&error)),
    })
    .await
}

async fn stamp_all<H: OutboxHarness>(harness: &H, lease: &Lease) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let events = stamp(harness, lease, 100).await;
        if events.is_empty() {
            return all;
        }
        all.extend(events);
    }
}

async fn head<H: OutboxHarness>(harness: &H) -> Head {
    harness.store().head(&harness.stream()).await.expect("the head is answered").expect("the stream exists")
}

async fn read<H: OutboxHarness>(harness: &H, after: Position, limit: usize) -> Vec<Event> {
    harness.store().read_after(&harness.stream(), after, limit).await.expect("the events are read")
}

/// Asserts that these are the stream's events from 1 on, dense and chained.
fn assert_chain(events: &[Event]) {
    let mut previous: Option<EventId> = None;
    for (event, position) in events.iter().zip(1..) {
        assert_eq!(event.position, position, "positions are dense");
        assert_eq!(event.previous, previous, "`previous` of {position} is the event before");
        previous = Some(event.new.id);
    }
}

/// What was appended comes back whole, with its place, from the stamp and from every reader.
pub async fn an_event_is_stamped_as_it_was_appended<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    let empty = head(&harness).await;
    assert_eq!((empty.position, empty.event_id, empty.oldest), (0, None, 0));
    let first = new_event(&aggregate("a"), 1);
    let mut second = new_event(&aggregate("b"), 1);
    second.headers = Headers::default();
    second.payload = bytes::Bytes::new();
    assert_eq!(store.resolve(first.id).await.expect("answered"), Resolved::Unknown);
    append_one(&harness, first.clone()).await;
    append_one(&harness, second.clone()).await;
    assert_eq!(store.resolve(first.id).await.expect("answered"), Resolved::Pending);
    assert_eq!(read(&harness, 0, 10).await, [], "what is not stamped is not read");

    let lease = leased(&harness).await;
    let stamped = stamp_all(&harness, &lease).await;
    let expected = |new: NewEvent, position, previous| Event {
        stream: harness.stream(),
        epoch: lease.epoch,
        position,
        previous,
        new,
    };
    assert_eq!(stamped, [expected(first.clone(), 1, None), expected(second.clone(), 2, Some(first.id))]);
    assert_eq!(read(&harness, 0, 10).await, stamped);
    let at = Resolved::At { stream: harness.stream(), epoch: lease.epoch, position: 2 };
    assert_eq!(store.resolve(second.id).await.expect("answered"), at);
    let now = head(&harness).await;
    let stands = Head {
        stream: harness.stream(),
        epoch: lease.epoch,
        position: 2,
        event_id: Some(second.id),
        oldest: 1,
    };
    assert_eq!(now, stands);
    for (position, id) in [(1, Some(first.id)), (2, Some(second.id)), (3, None), (0, None)] {
        assert_eq!(store.event_id_at(&harness.stream(), position).await.expect("answered"), id);
    }
    assert!(store.head("no-such-stream").await.expect("answered").is_none());
}

/// E1, E6: a writer that is slow to commit is neither lost nor waited for, and one that rolls back leaves no
/// hole. A reader that goes by insertion order loses the slow one's event.
pub async fn positions_are_dense_over_rollbacks_and_slow_writers<H: OutboxHarness>(harness: H) {
    let lease = leased(&harness).await;
    let events: Vec<NewEvent> =
        ["slow", "undone", "quick", "late"].map(|name| new_event(&aggregate(name), 1)).into();
    let mut slow = harness.begin().await;
    harness.append(&mut slow, events[0].clone()).await.expect("appended");
    let mut undone = harness.begin().await;
    harness.append(&mut undone, events[1].clone()).await.expect("appended");
    append_one(&harness, events[2].clone()).await;

    let mut stamped = stamp_all(&harness, &lease).await;
    assert_eq!(ids(&stamped), [events[2].id], "the quick writer's event does not wait for the slow one's");
    harness.rollback(undone).await;
    append_one(&harness, events[3].clone()).await;
    stamped.extend(stamp_all(&harness, &lease).await);
    harness.commit(slow).await.expect("commits");
    stamped.extend(stamp_all(&harness, &lease).await);
    assert_eq!(ids(&stamped), [events[2].id, events[3].id, events[0].id]);
    assert_chain(&stamped);
    assert_eq!(read(&harness, 0, 10).await, stamped);
}

/// Twelve writers, transactions of several events, some rolled back, a sequencer that stamps meanwhile: each
/// committed event has one position, and the versions of an aggregate ascend.
pub async fn concurrent_writers_lose_nothing_and_keep_their_order<H: OutboxHarness>(harness: H) {
    let lease = leased(&harness).await;
    let writers = join_all((0..12).map(|writer| {
        let harness = &harness;
        async move {
            let aggregate = aggregate(&format!("writer-{writer}"));
            let mut version = 0;
            for turn in 0..10 {
                let mut tx = harness.begin().await;
                let undone = (writer + turn) % 4 == 0;
                let count = 1 + turn % 3;
                for offset in 1..=count {
                    let event = new_event(&aggregate, version + offset);
                    harness.append(&mut tx, event).await.expect("appended");
                }
                if undone {
                    harness.rollback(tx).await;
                } else {
                    harness.commit(tx).await.expect("commits");
                    version += count;
                }
            }
            (aggregate, version)
        }
    }));
    let done = AtomicBool::new(false);
    let writers = async {
        let written = writers.await;
        done.store(true, Ordering::Relaxed);
        written
    };
    let sequencer = async {
        let mut stamped = Vec::new();
        while !done.load(Ordering::Relaxed) {
            stamped.extend(stamp(&harness, &lease, 7).await);
            tokio::task::yield_now().await;
        }
        stamped
    };
    let (written, mut stamped) = join(writers, sequencer).await;
    let written: HashMap<Aggregate, i64> = written.into_iter().collect();
    stamped.extend(stamp_all(&harness, &lease).await);
    assert_chain(&stamped);
    assert_eq!(read(&harness, 0, 10_000).await, stamped);
    let mut seen: HashMap<Aggregate, i64> = HashMap::new();
    for event in &stamped {
        let version = seen.entry(event.new.aggregate.clone()).or_default();
        *version += 1;
        assert_eq!(event.new.aggregate_version, *version, "versions ascend without a hole");
    }
    assert_eq!(seen, written);
}

/// The clock of the second version's writer is behind: by its id it comes first. It must not be stamped first,
/// whatever the batch.
pub async fn a_lower_version_is_stamped_first<H: OutboxHarness>(harness: H) {
    let lease = leased(&harness).await;
    let aggregate = aggregate("a");
    let mut versions: Vec<NewEvent> = (1..=3).map(|version| new_event(&aggregate, version)).collect();
    let mut by_time: Vec<EventId> = versions.iter().map(|event| event.id).collect();
    by_time.sort_unstable();
    by_time.reverse();
    for (event, id) in versions.iter_mut().zip(by_time) {
        event.id = id;
    }
    for event in &versions {
        append_one(&harness, event.clone()).await;
    }
    let mut stamped = Vec::new();
    while stamped.len() < 3 {
        let events = stamp(&harness, &lease, 1).await;
        assert!(!events.is_empty(), "every committed event is stamped");
        stamped.extend(events);
    }
    assert_chain(&stamped);
    assert_eq!(versions_of(&stamped), [1, 2, 3]);
}

/// By its id the second version comes last, beyond the batch that has the first and the third. It must not be
/// stamped after the third.
pub async fn a_version_beyond_the_batch_is_stamped_between_its_neighbours<H: OutboxHarness>(harness: H) {
    let lease = leased(&harness).await;
    let aggregate = aggregate("a");
    let mut versions: Vec<NewEvent> = (1..=3).map(|version| new_event(&aggregate, version)).collect();
    let mut ids: Vec<EventId> = versions.iter().map(|event| event.id).collect();
    ids.sort_unstable();
    for (event, id) in versions.iter_mut().zip([ids[0], ids[2], ids[1]]) {
        event.id = id;
    }
    for event in &versions {
        append_one(&harness, event.clone()).await;
    }
    let mut stamped = Vec::new();
    while stamped.len() < 3 {
        let events = stamp(&harness, &lease, 2).await;
        assert!(!events.is_empty(), "every committed event is stamped");
        stamped.extend(events);
    }
    assert_chain(&stamped);
    assert_eq!(versions_of(&stamped), [1, 2, 3]);
}

/// The second event with an aggregate's version is refused at the append or at the commit.
pub async fn a_version_is_taken_once<H: OutboxHarness>(harness: H) {
    let aggregate = aggregate("a");
    append_one(&harness, new_event(&aggregate, 1)).await;
    let mut tx = harness.begin().await;
    match harness.append(&mut tx, new_event(&aggregate, 1)).await {
        Err(_) => harness.rollback(tx).await,
        Ok(()) => assert!(harness.commit(tx).await.is_err(), "the version was taken twice"),
    }
    let lease = leased(&harness).await;
    assert_eq!(stamp_all(&harness, &lease).await.len(), 1);
}

/// A step is bounded, and the next one goes on where it ended.
pub async fn a_stamp_takes_no_more_than_its_limit<H: OutboxHarness>(harness: H) {
    append_many(&harness, 5).await;
    let lease = leased(&harness).await;
    let mut stamped = Vec::new();
    for expected in [2, 2, 1, 0] {
        let events = stamp(&harness, &lease, 2).await;
        assert_eq!(events.len(), expected);
        stamped.extend(events);
    }
    assert_chain(&stamped);
}

/// The lease is one owner's until it runs out, is renewed by its owner, and passes on with a higher fence. A
/// duration of zero gives it back.
pub async fn one_owner_at_a_time_has_the_lease<H: OutboxHarness>(harness: H) {
    let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let first = lease(&harness, ann, LONG).await.expect("free");
    assert_eq!((first.owner, first.head, first.published_through), (ann, 0, 0));
    assert_eq!(lease(&harness, bob, LONG).await, None, "it is taken");
    let renewed = lease(&harness, ann, SHORT).await.expect("it is her own");
    assert_eq!(renewed.fence, first.fence, "a renewal is no takeover");
    let taken = until("a lease that ran out is free", async || lease(&harness, bob, LONG).await).await;
    assert!(taken.fence > first.fence, "the fence rises at a takeover");
    assert_eq!(taken.epoch, first.epoch, "a takeover is no new history");
    assert_eq!(lease(&harness, ann, LONG).await, None);
    lease(&harness, bob, Duration::ZERO).await;
    let again = lease(&harness, ann, LONG).await.expect("it was given back");
    assert!(again.fence > taken.fence);
}

/// What is pending, a lease that should be renewed and one that was lost are work for a step; anything else is none.
pub async fn a_step_with_nothing_to_do_is_known_by_a_look<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    let idle =
        async |lease: &Lease, duration: Duration| store.is_idle(lease, duration).await.expect("answered");
    let ann = Uuid::new_v4();
    let mine = lease(&harness, ann, LONG).await.expect("free");
    assert!(idle(&mine, LONG).await);
    assert!(!idle(&mine, LONG * 2).await, "less than two thirds are left");
    let renewed = store.stamp(&mine, 10, LONG * 2).await.expect("answered");
    assert_eq!(renewed, Stamp::Stamped(Vec::new()));
    assert!(idle(&mine, LONG * 2).await, "the step has renewed it");
    append_one(&harness, new_event(&aggregate("a"), 1)).await;
    assert!(!idle(&mine, LONG).await, "an event waits");
    assert_eq!(stamp_all(&harness, &mine).await.len(), 1);
    assert!(idle(&mine, LONG).await);
    lease(&harness, ann, Duration::ZERO).await;
    leased(&harness).await;
    assert!(!idle(&mine, LONG).await, "another has the stream");
    assert_eq!(store.stamp(&mine, 10, LONG).await.expect("answered"), Stamp::LeaseLost);
}

/// An owner that slept while its lease was stolen writes nothing, however late it wakes.
pub async fn a_stale_owner_writes_nothing<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    append_many(&harness, 2).await;
    let stale = lease(&harness, Uuid::new_v4(), SHORT).await.expect("free");
    let Stamp::Stamped(stamped) = store.stamp(&stale, 1, SHORT).await.expect("answered") else {
        panic!("the owner has the lease");
    };
    assert_eq!(stamped.len(), 1);
    let bob = Uuid::new_v4();
    let taken = until("a lease that ran out is free", async || lease(&harness, bob, LONG).await).await;
    assert_eq!(taken.head, 1);

    let late = store.stamp(&stale, 10, LONG).await.expect("answered");
    assert_eq!(late, Stamp::LeaseLost);
    assert!(!store.published(&stale, 1).await.expect("answered"), "it notes nothing");
    assert_eq!(store.prune(&stale, Duration::ZERO, 10).await.expect("answered"), 0, "it prunes nothing");
    assert_eq!(head(&harness).await.position, 1);
    assert_eq!(lease(&harness, bob, LONG).await.expect("his own").published_through, 0);

    assert!(store.published(&taken, 1).await.expect("answered"));
    assert_eq!(lease(&harness, bob, LONG).await.expect("his own").published_through, 1);
    assert_eq!(stamp_all(&harness, &taken).await.len(), 1);
    // Even if the thief has given it back and nobody has it, an old fence is an old fence.
    lease(&harness, bob, Duration::ZERO).await;
    append_one(&harness, new_event(&aggregate("after"), 1)).await;
    assert_eq!(store.stamp(&stale, 10, LONG).await.expect("answered"), Stamp::LeaseLost);
}

/// Two sequencers take the stream from each other all the time, while events come in.
pub async fn two_sequencers_never_stamp_an_event_twice<H: OutboxHarness>(harness: H) {
    let done = AtomicBool::new(false);
    let sequencer = |owner: Uuid| {
        let (harness, done) = (&harness, &done);
        async move {
            let store = harness.store();
            let mut stamped = Vec::new();
            loop {
                let finished = done.load(Ordering::Relaxed);
                let stream = harness.stream();
                let lease = match store.lease(&stream, owner, Duration::from_millis(5)).await {
                    Ok(Some(lease)) => lease,
                    Ok(None) | Err(StoreError::Transient(_)) => {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        continue;
                    }
                    Err(error) => panic!("{}", chain(&error)),
                };
                // The other may take the stream between these two.
                tokio::task::yield_now().await;
                let events = match store.stamp(&lease, 3, Duration::from_millis(5)).await {
                    Ok(Stamp::Stamped(events)) => events,
                    Ok(Stamp::LeaseLost) | Err(StoreError::Transient(_)) => continue,
                    Err(error) => panic!("{}", chain(&error)),
                };
                if finished && events.is_empty() {
                    return stamped;
                }
                stamped.extend(events);
            }
        }
    };
    let writer = async {
        let events = append_many(&harness, 40).await;
        done.store(true, Ordering::Relaxed);
        events
    };
    let (ann, bob, written) = join3(sequencer(Uuid::new_v4()), sequencer(Uuid::new_v4()), writer).await;
    let mut stamped: Vec<Event> = ann.into_iter().chain(bob).collect();
    stamped.sort_by_key(|event| event.position);
    assert_chain(&stamped);
    assert_eq!(stamped.len(), written.len());
    assert_eq!(read(&harness, 0, 100).await, stamped);
}

/// A step whose answer was lost may still be at it when its owner begins the next one: no fence tells them apart.
pub async fn steps_of_one_lease_at_once_stamp_each_event_once<H: OutboxHarness>(harness: H) {
    let lease = leased(&harness).await;
    let steps = async || {
        let step = async |_| {
            let mut stamped = Vec::new();
            loop {
                let events = stamp(&harness, &lease, 3).await;
                if events.is_empty() {
                    return stamped;
                }
                stamped.extend(events);
            }
        };
        join_all((0..6).map(step)).await.concat()
    };
    // The first time each of them connects, which takes longer than all steps of another.
    assert_eq!(steps().await, []);
    let written = append_many(&harness, 60).await;
    let mut stamped = steps().await;
    stamped.sort_by_key(|event| event.position);
    assert_chain(&stamped);
    assert_eq!(stamped.len(), written.len());
    assert_eq!(read(&harness, 0, 100).await, stamped);
}

/// A restored or failed-over database begins a new history, and its events are of the new epoch.
pub async fn a_new_server_makes_a_new_epoch<H: OutboxHarness>(harness: H) {
    append_many(&harness, 2).await;
    let ann = Uuid::new_v4();
    let before = lease(&harness, ann, LONG).await.expect("free");
    stamp(&harness, &before, 1).await;
    harness.move_to_another_server().await;
    let after = lease(&harness, ann, LONG).await.expect("her own");
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(after.head, 1, "positions go on");
    assert_eq!(lease(&harness, ann, LONG).await.expect("her own").epoch, after.epoch, "once");
    let stamped = stamp(&harness, &after, 1).await;
    assert_eq!(stamped[0].epoch, after.epoch);
    assert_eq!(head(&harness).await.epoch, after.epoch);
    let all = read(&harness, 0, 10).await;
    assert!(all.iter().all(|event| event.epoch == after.epoch), "a replay is of one epoch");
    assert_chain(&all);
}

/// Bounded pages, in order, without holes, also from the middle and above the head.
pub async fn pages_of_a_replay_join<H: OutboxHarness>(harness: H) {
    append_many(&harness, 7).await;
    let lease = leased(&harness).await;
    let stamped = stamp_all(&harness, &lease).await;
    let mut pages = Vec::new();
    let mut after = 0;
    loop {
        let page = read(&harness, after, 3).await;
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        after = last.position;
        pages.extend(page);
    }
    assert_eq!(pages, stamped);
    assert_eq!(read(&harness, 7, 3).await, []);
    assert_eq!(read(&harness, 100, 3).await, []);
}

/// Only who is registered holds back pruning.
pub async fn an_acknowledgement_needs_a_registered_consumer<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    let stream = harness.stream();
    harness.register("test.known").await;
    let epoch = leased(&harness).await.epoch;
    assert!(store.acknowledge(&stream, "test.known", epoch, 0).await.expect("answered"));
    assert!(!store.acknowledge(&stream, "test.unknown", epoch, 0).await.expect("answered"));
    assert!(!store.acknowledge("no-such-stream", "test.known", epoch, 0).await.expect("answered"));
}

/// Strictly below the smallest mark of all registered consumers; a mark may go down again.
pub async fn pruning_keeps_the_event_at_the_smallest_mark<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    let stream = harness.stream();
    harness.register("test.one").await;
    harness.register("test.two").await;
    append_many(&harness, 10).await;
    let lease = leased(&harness).await;
    let stamped = stamp_all(&harness, &lease).await;
    let prune = async |limit| store.prune(&lease, Duration::ZERO, limit).await.expect("answered");

    assert_eq!(prune(100).await, 0, "a consumer that has said nothing needs everything");
    assert!(store.acknowledge(&stream, "test.one", lease.epoch, 8).await.expect("answered"));
    assert_eq!(prune(100).await, 0, "the other one has said nothing yet");
    assert!(store.acknowledge(&stream, "test.two", lease.epoch, 5).await.expect("answered"));
    assert_eq!(prune(2).await, 2, "a batch is bounded");
    assert_eq!(prune(100).await, 2);
    assert_eq!(prune(100).await, 0);
    assert_eq!(head(&harness).await.oldest, 5, "the event at the mark stays: it answers Resume");
    assert_eq!(store.event_id_at(&stream, 5).await.expect("answered"), Some(stamped[4].new.id));
    assert_eq!(store.event_id_at(&stream, 4).await.expect("answered"), None);
    assert_eq!(read(&harness, 4, 100).await, stamped[4..]);
    assert_eq!(read(&harness, 2, 100).await, [], "no page begins after a hole");

    assert!(store.acknowledge(&stream, "test.two", lease.epoch, 9).await.expect("answered"));
    assert!(
        store.acknowledge(&stream, "test.one", lease.epoch, 6).await.expect("answered"),
        "it may go down"
    );
    assert_eq!(prune(100).await, 1);
    assert_eq!(head(&harness).await.oldest, 6);
    assert_eq!(head(&harness).await.position, 10);
    append_one(&harness, new_event(&aggregate("after"), 1)).await;
    let next = stamp_all(&harness, &lease).await;
    assert_eq!((next[0].position, next[0].previous), (11, Some(stamped[9].new.id)));
}

/// What is younger than the retention stays, whatever was acknowledged; the newest event stays always.
pub async fn pruning_keeps_what_is_young<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    append_many(&harness, 3).await;
    let lease = leased(&harness).await;
    stamp_all(&harness, &lease).await;
    harness.register("test.one").await;
    assert!(store.acknowledge(&harness.stream(), "test.one", lease.epoch, 3).await.expect("answered"));
    let hour = Duration::from_secs(3600);
    assert_eq!(store.prune(&lease, hour, 100).await.expect("answered"), 0);
    assert_eq!(read(&harness, 0, 10).await.len(), 3);
    assert_eq!(store.prune(&lease, Duration::ZERO, 100).await.expect("answered"), 2);
    assert_eq!(head(&harness).await.oldest, 3);
}

/// It holds back pruning for ever, and nobody else would notice.
pub async fn a_consumer_that_fell_silent_is_named<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    let stream = harness.stream();
    for consumer in ["test.two", "test.one", "test.never"] {
        harness.register(consumer).await;
    }
    let lease = leased(&harness).await;
    append_many(&harness, 1).await;
    stamp_all(&harness, &lease).await;
    let silent = async |longer_than| {
        store.silent_consumers(&stream, longer_than).await.expect("the silent ones are told")
    };
    let named = |consumer: &str, acknowledged, is_of_epoch| Silent {
        consumer: consumer.to_owned(),
        acknowledged,
        is_of_epoch,
    };
    assert!(store.acknowledge(&stream, "test.one", lease.epoch, 1).await.expect("answered"));
    assert!(store.acknowledge(&stream, "test.two", Uuid::from_u128(1), 7).await.expect("answered"));
    let wrong = [named("test.never", 0, false), named("test.two", 7, false)];
    assert_eq!(silent(LONG).await, wrong, "what they have acknowledged counts as nothing");
    until("an acknowledgement gets old", async || {
        let all = silent(SHORT).await;
        (all.len() == 3).then_some(all)
    })
    .await;
    assert!(store.acknowledge(&stream, "test.one", lease.epoch, 1).await.expect("answered"));
    assert_eq!(silent(LONG).await, wrong, "it is told of again though it did not move");
}

fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(|event| event.new.id).collect()
}

fn versions_of(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.new.aggregate_version).collect()
}
