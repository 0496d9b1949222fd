//! Events that cannot be applied: how they are parked, listed, retried and skipped.

use futures_util::future::join;
use uuid::Uuid;

use super::super::aggregate;
use super::{Bench, ConsumerHarness, Failure, end, origin};
use crate::admin::{AdminError, ConsumerAdmin as _, Retried};
use crate::consumer::apply::{ERROR_CHARS, Outcome};
use crate::consumer::transactions::TOO_MANY_PARKED;
use crate::envelope::Event;
use crate::store::{ConsumerStore as _, ConsumerTx as _, Skip, StoreError};

/// Of eight events one can never be applied: it is parked with its payload, and the other seven are applied once.
pub async fn what_can_never_be_applied_is_parked_whole_and_alone<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["a", "b", "c", "d", "e", "f", "g", "h"]);
    bench.fail(&events[4], Failure::Permanent);
    assert_eq!(bench.apply(&events).await, Outcome::Applied(end(&events)));
    assert_eq!(bench.counts(&["a", "b", "c", "d", "e", "f", "g", "h"]).await, [1, 1, 1, 1, 0, 1, 1, 1]);
    let parked = bench.store.parked_list(bench.consumer.name, 0, 10).await.expect("answered");
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].event, events[4], "whole");
    assert_eq!((parked[0].attempts, parked[0].error.as_str()), (1, "made to fail"));
    assert_eq!(bench.mark().await, end(&events));
}

/// The events of an aggregate keep their order after one was parked, also in later runs.
pub async fn later_events_of_a_parked_aggregate_wait_behind_it<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let mut events = bench.events(&[], &["a", "b", "a", "b"]);
    bench.fail(&events[0], Failure::Permanent);
    assert_eq!(bench.apply(&events).await, Outcome::Applied(end(&events)));
    let more = bench.events(&events, &["a", "b"]);
    events.extend(more.clone());
    assert_eq!(bench.apply(&more).await, Outcome::Applied(end(&events)));
    assert_eq!(bench.counts(&["a", "b"]).await, [0, 3]);
    let parked = bench.store.parked_list(bench.consumer.name, 0, 10).await.expect("answered");
    let waiting: Vec<_> = parked.iter().map(|parked| (parked.event.position, parked.attempts)).collect();
    assert_eq!(waiting, [(1, 1), (3, 0), (5, 0)]);
    assert!(parked[1].error.is_empty() && parked[2].error.is_empty(), "they only wait");
}

/// When the events of many aggregates fail, there is a defect, and parking the whole stream would not help.
pub async fn too_many_parked_aggregates_halt_the_consumer<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["a", "b", "a", "c", "d"]);
    for at in [0, 1, 3] {
        bench.fail(&events[at], Failure::Permanent);
    }
    assert_eq!(bench.applier(2).apply(origin(), &events).await, Outcome::Halted);
    let leased = bench.leased().await;
    assert_eq!((leased.mark, leased.halted.as_deref()), (end(&events[..3]), Some(TOO_MANY_PARKED)));
    assert_eq!(bench.parked_positions().await, [1, 2, 3], "a list that grows is no new aggregate");
    assert_eq!(bench.counts(&["a", "b", "c", "d"]).await, [0; 4]);
}

/// A retry goes up to the first event that still fails, and counts its attempts.
pub async fn a_retry_applies_the_list_in_order<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let handle = bench.handle(true);
    let events = bench.events(&[], &["a", "a", "a", "b"]);
    bench.fail(&events[0], Failure::Permanent);
    bench.fail(&events[1], Failure::Permanent);
    bench.apply(&events).await;
    let failing = handle.retry(aggregate("a"), Uuid::new_v4()).await;
    assert!(
        matches!(&failing, Err(AdminError::StillFailing { event_id, error })
            if *event_id == events[0].new.id && error == "made to fail"),
        "{failing:?}"
    );
    let parked = bench.store.parked_list(bench.consumer.name, 0, 10).await.expect("answered");
    assert_eq!((parked.len(), parked[0].attempts, parked[1].attempts), (3, 2, 0));

    bench.heal(&events[0]);
    let some = handle.retry(aggregate("a"), Uuid::new_v4()).await.expect("the first is applied");
    assert_eq!(some, Retried { applied: 1, remaining: 2 });
    bench.heal(&events[1]);
    let rest = handle.retry(aggregate("a"), Uuid::new_v4()).await.expect("all are applied");
    assert_eq!(rest, Retried { applied: 2, remaining: 0 });
    assert_eq!(bench.counts(&["a", "b"]).await, [3, 1]);
    assert_eq!(bench.effects.committed_positions(), [4, 1, 2, 3]);
    assert!(
        matches!(handle.retry(aggregate("a"), Uuid::new_v4()).await, Err(AdminError::NotParked)),
        "nothing left to do"
    );
    let next = bench.events(&events, &["a"]);
    bench.apply(&next).await;
    assert_eq!(bench.counts(&["a"]).await, [4], "the aggregate is free again");
}

/// A longer error is cut, also that of a retry.
pub async fn an_error_is_kept_up_to_a_length<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["a"]);
    bench.fail(&events[0], Failure::Verbose);
    bench.apply(&events).await;
    let kept = async |attempts: i32| {
        let parked = bench.store.parked_list(bench.consumer.name, 0, 10).await.expect("answered");
        assert_eq!((parked[0].attempts, parked[0].error.chars().count()), (attempts, ERROR_CHARS));
    };
    kept(1).await;
    let answer = bench.handle(true).retry(aggregate("a"), Uuid::new_v4()).await;
    let Err(AdminError::StillFailing { error, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(error.chars().count(), ERROR_CHARS);
    kept(2).await;
}

/// A skip drops one event for good. Those behind it stay parked.
pub async fn a_skip_drops_one_event<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let handle = bench.handle(true);
    let events = bench.events(&[], &["a", "a"]);
    bench.fail(&events[0], Failure::Permanent);
    bench.apply(&events).await;
    let skipped = handle.skip(bench.skip(&events[0], Uuid::new_v4())).await.expect("it is parked");
    assert_eq!((skipped.event_id, skipped.position), (events[0].new.id, 1));
    let again = handle.skip(bench.skip(&events[0], Uuid::new_v4())).await;
    assert!(matches!(again, Err(AdminError::NotParked)), "it is gone");
    assert_eq!(bench.parked_positions().await, [2]);
    let rest = handle.retry(aggregate("a"), Uuid::new_v4()).await.expect("applied");
    assert_eq!(rest, Retried { applied: 1, remaining: 0 });
    assert_eq!(bench.counts(&["a"]).await, [1]);
}

/// The record says who dropped which event and why, once for each event that was dropped, and does not depend on the
/// log.
pub async fn a_skip_is_recorded_with_who_and_why<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let handle = bench.handle(true);
    let events = bench.events(&[], &["a", "a", "b"]);
    bench.fail(&events[0], Failure::Permanent);
    bench.apply(&events).await;
    let skips: Vec<Skip> = events[..2].iter().map(|event| bench.skip(event, Uuid::new_v4())).collect();
    for skip in &skips {
        for _ in 0..2 {
            handle.skip(skip.clone()).await.expect("it is parked, or the answer is kept");
        }
    }
    let refused = handle.skip(bench.skip(&events[2], Uuid::new_v4())).await;
    assert!(matches!(refused, Err(AdminError::NotParked)), "{refused:?}");
    let mut recorded = bench.harness.skips().await;
    recorded.sort_by_key(|(position, _)| *position);
    assert_eq!(recorded, [(1, skips[0].clone()), (2, skips[1].clone())]);
}

/// The mark keeps only the last act, and another request's act may replace it while a retry is running.
pub async fn acts_at_the_same_time_hear_what_each_came_to<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let (ann, bob) = (bench.handle(true), bench.handle(true));
    let mut events = Vec::new();
    for round in 0..5 {
        let run = bench.events(&events, &["a", "a", "a", "b", "b", "b"]);
        let from = end(&events);
        for first in [&run[0], &run[3]] {
            bench.fail(first, Failure::Permanent);
        }
        assert_eq!(bench.applier(100).apply(from, &run).await, Outcome::Applied(end(&run)));
        for first in [&run[0], &run[3]] {
            bench.heal(first);
        }
        events.extend(run);
        let (a, b) =
            join(ann.retry(aggregate("a"), Uuid::new_v4()), bob.retry(aggregate("b"), Uuid::new_v4())).await;
        for retried in [a, b] {
            let retried = retried.expect("all are applied");
            assert_eq!(retried, Retried { applied: 3, remaining: 0 }, "in round {round}");
        }
    }
    assert_eq!(bench.counts(&["a", "b"]).await, [15, 15]);
}

/// A repeat of a skip or a retry, with its request id, gets the answer of the first call. The same id with another
/// request is refused, and another id finds nothing left to do.
pub async fn a_repeat_of_an_act_hears_what_it_came_to<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let handle = bench.handle(true);
    let events = bench.events(&[], &["a", "a", "a"]);
    bench.fail(&events[0], Failure::Permanent);
    bench.apply(&events).await;
    let skip = Uuid::new_v4();
    let skipped = handle.skip(bench.skip(&events[0], skip)).await.expect("it is parked");
    let again = handle.skip(bench.skip(&events[0], skip)).await;
    assert_eq!(again.expect("the answer is kept"), skipped);
    let other = handle.skip(bench.skip(&events[1], skip)).await;
    assert!(matches!(other, Err(AdminError::RequestIdReused)), "{other:?}");
    assert_eq!(bench.parked_positions().await, [2, 3], "nothing but the first was dropped");

    bench.fail(&events[2], Failure::Permanent);
    let retry = Uuid::new_v4();
    let retried = handle.retry(aggregate("a"), retry).await.expect("the second is applied");
    assert_eq!(retried, Retried { applied: 1, remaining: 1 });
    bench.heal(&events[2]);
    assert_eq!(handle.retry(aggregate("a"), retry).await.expect("the answer is kept"), retried);
    let other = handle.retry(aggregate("b"), retry).await;
    assert!(matches!(other, Err(AdminError::RequestIdReused)), "{other:?}");
    assert_eq!(bench.counts(&["a"]).await, [1]);
    let rest = handle.retry(aggregate("a"), Uuid::new_v4()).await.expect("the third is applied");
    assert_eq!(rest, Retried { applied: 1, remaining: 0 });
    assert_eq!(bench.counts(&["a"]).await, [2]);
}

/// New events of an aggregate arrive while its parked events are retried: each has its effect once, and none stays
/// parked.
pub async fn retries_and_new_events_do_not_race<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let handle = bench.handle(true);
    let mut events = bench.events(&[], &["a", "a", "a"]);
    bench.fail(&events[0], Failure::Permanent);
    bench.apply(&events).await;
    bench.heal(&events[0]);
    let consumer = async {
        let mut applier = bench.applier(100);
        for _ in 0..15 {
            let run = bench.events(&events, &["a"]);
            let outcome = applier.apply(end(&events), &run).await;
            assert_eq!(outcome, Outcome::Applied(end(&run)));
            events.extend(run);
        }
    };
    let operator = async {
        for _ in 0..15 {
            match handle.retry(aggregate("a"), Uuid::new_v4()).await {
                Ok(_) | Err(AdminError::NotParked | AdminError::Store(StoreError::Transient(_))) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    join(consumer, operator).await;
    match handle.retry(aggregate("a"), Uuid::new_v4()).await {
        Ok(Retried { remaining: 0, .. }) | Err(AdminError::NotParked) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.counts(&["a"]).await, [18]);
    assert_eq!(bench.parked_positions().await, [0; 0]);
    let committed = bench.effects.committed_positions();
    assert_eq!(committed.len(), 18, "each was applied once: {committed:?}");
}

/// Pages have no gap between them. Parking an event again replaces its attempts and error.
pub async fn parked_events_are_listed_by_position<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["c", "a", "b", "a"]);
    let mut tx = bench.store.begin().await.expect("begins");
    tx.mark_lock(bench.consumer).await.expect("locks");
    assert!(!tx.parked_any(bench.consumer).await.expect("answered"));
    for event in events.iter().rev() {
        tx.park(bench.consumer, event, 0, "").await.expect("parks");
    }
    tx.park(bench.consumer, &events[1], 7, "again").await.expect("parks again");
    let names = ["a", "b", "x"].map(aggregate);
    let among = tx.parked_among(bench.consumer, &names).await.expect("answered");
    assert_eq!(among, names[..2].iter().cloned().collect());
    assert_eq!(tx.parked_aggregate_count(bench.consumer).await.expect("answered"), 3);
    for (name, expected) in names.iter().zip([Some((2, 1)), Some((3, 0)), None]) {
        let first = tx.parked_first(bench.consumer, name).await.expect("answered");
        assert_eq!(first.map(|(first, behind)| (first.event.position, behind)), expected);
    }
    assert!(tx.parked_any(bench.consumer).await.expect("answered"));
    tx.commit().await.expect("commits");
    let list = async |after, limit| {
        bench.store.parked_list(bench.consumer.name, after, limit).await.expect("answered")
    };
    let first = list(0, 3).await;
    let rest = list(3, 3).await;
    let since = first[1].parked_at;
    let mut tx = bench.store.begin().await.expect("begins");
    tx.mark_lock(bench.consumer).await.expect("locks");
    tx.park(bench.consumer, &events[1], 7, "again").await.expect("parks once more");
    tx.commit().await.expect("commits");
    assert_eq!(list(0, 3).await[1].parked_at, since, "it waits since it was parked first");
    let all: Vec<Event> = first.iter().chain(&rest).map(|parked| parked.event.clone()).collect();
    assert_eq!(all, events);
    assert_eq!((first[1].attempts, first[1].error.as_str()), (7, "again"));
    assert!(list(4, 3).await.is_empty());
}
