//! Positions: dense, in order, and each event as it was appended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{join, join_all};
use types::EventId;

use super::super::{aggregate, new_event};
use super::{OutboxHarness, append_many, append_one, assert_chain, head, leased, read, stamp, stamp_all};
use crate::envelope::{Aggregate, Event, Headers, NewEvent};
use crate::store::{EventLog as _, Head, Resolved};

/// An appended event comes back unchanged, with its position, from the stamp and from every reader.
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

/// The event of a writer that is slow to commit is not lost, and no other event waits for it. A writer that rolls back
/// leaves no hole. A reader that goes by the order of insertion would lose the slow writer's event.
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

/// The clock of the second version's writer is behind, so the second version has the lower id. It must not be stamped
/// first, whatever the size of a batch.
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

/// The second version has the highest id, so it is not in the batch with the first and the third. It must not be
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

/// A second event with the same version of an aggregate is refused, at the append or at the commit.
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

/// A step stamps no more events than its limit, and the next step goes on where it ended.
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

fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(|event| event.new.id).collect()
}

fn versions_of(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.new.aggregate_version).collect()
}
