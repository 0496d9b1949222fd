//! Replays, acknowledgements, and what may be pruned.

use std::time::Duration;

use uuid::Uuid;

use super::super::{aggregate, new_event, until};
use super::{LONG, OutboxHarness, SHORT, append_many, append_one, head, leased, read, stamp_all};
use crate::envelope::Position;
use crate::store::{EventLog as _, OutboxStore as _, Silent};

/// Pages are bounded, in order and without holes, wherever a reader starts.
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
    let store = harness.store();
    for far in [100, Position::MAX - 3, Position::MAX - 1, Position::MAX] {
        assert_eq!(read(&harness, far, 3).await, [], "after {far}");
        assert_eq!(store.event_id_at(&harness.stream(), far).await.expect("answered"), None, "at {far}");
    }
    for near in [Position::MIN, -1, 0] {
        assert_eq!(store.event_id_at(&harness.stream(), near).await.expect("answered"), None, "at {near}");
    }
}

/// Only a registered consumer can acknowledge, and so keep events from being pruned.
pub async fn an_acknowledgement_needs_a_registered_consumer<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    let stream = harness.stream();
    harness.register("test.known").await;
    let epoch = leased(&harness).await.epoch;
    assert!(store.acknowledge(&stream, "test.known", epoch, 0).await.expect("answered"));
    assert!(!store.acknowledge(&stream, "test.unknown", epoch, 0).await.expect("answered"));
    assert!(!store.acknowledge("no-such-stream", "test.known", epoch, 0).await.expect("answered"));
}

/// Events strictly below the smallest mark of all registered consumers are pruned. A mark may also go down.
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

/// Events younger than the retention stay even if all consumers have acknowledged them. The newest event always stays.
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

/// A consumer that is gone keeps events from being pruned for ever, so it is named.
pub async fn a_consumer_that_fell_silent_is_named<H: OutboxHarness>(harness: H) {
    let store = harness.store();
    let stream = harness.stream();
    for consumer in ["test.two", "test.one", "test.never"] {
        harness.register(consumer).await;
    }
    let lease = leased(&harness).await;
    append_many(&harness, 1).await;
    stamp_all(&harness, &lease).await;
    let silent = async |longer_than| store.silent_consumers(&stream, longer_than).await.expect("answered");
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
