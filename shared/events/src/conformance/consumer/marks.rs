//! The mark with its lease and its halt, and the runs that move it.

use std::time::Duration;

use futures_util::future::join;
use uuid::Uuid;

use super::super::{aggregate, until};
use super::{Bench, ConsumerHarness, Failure, LONG, SHORT, end, origin};
use crate::consumer::apply::Outcome;
use crate::store::{ConsumerStore as _, ConsumerTx as _, Mark};

/// A new mark is at the start. It belongs to one replica until the lease runs out or is given back; a takeover raises
/// the fence and does not move the mark.
pub async fn one_replica_at_a_time_has_the_mark<H: ConsumerHarness>(harness: H) {
    let bench = Bench::new(harness);
    let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let first = bench.lease(ann, LONG).await.expect("free");
    assert_eq!((first.mark, first.halted.clone()), (Mark::START, None));
    assert_eq!(bench.lease(bob, LONG).await, None, "it is taken");
    let renewed = bench.lease(ann, SHORT).await.expect("her own");
    assert_eq!(renewed.fence, first.fence, "a renewal is no takeover");
    let taken = until("a lease that ran out is free", async || bench.lease(bob, LONG).await).await;
    assert!(taken.fence > first.fence);
    assert_eq!(bench.lease(ann, LONG).await, None);
    bench.lease(bob, Duration::ZERO).await;
    assert!(bench.lease(ann, LONG).await.is_some(), "it was given back");
}

/// Everything relies on this compare-and-set, by position, epoch and event.
pub async fn a_mark_moves_only_from_where_it_is<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["a", "a", "a"]);
    let advance = async |from: Mark, to: Mark| {
        let mut tx = bench.store.begin().await.expect("begins");
        let moved = tx.mark_advance(bench.consumer, &from, &to).await.expect("answered");
        tx.commit().await.expect("commits");
        moved
    };
    let marks: Vec<Mark> = events.iter().map(Mark::after).collect();
    assert!(advance(origin(), marks[0]).await);
    assert!(!advance(origin(), marks[0]).await, "a duplicate");
    assert!(!advance(marks[1], marks[2]).await, "a gap");
    let other_epoch = Mark { epoch: Uuid::from_u128(1), ..marks[0] };
    assert!(!advance(other_epoch, Mark { epoch: other_epoch.epoch, ..marks[1] }).await, "another epoch");
    assert_eq!(bench.mark().await, marks[0]);
    assert!(advance(marks[0], marks[2]).await, "a run");
    assert_eq!(bench.leased().await.mark, marks[2]);
}

/// A new epoch is adopted only where the mark is, and not by a replica that was paused while another halted the
/// consumer.
pub async fn a_mark_is_put_elsewhere_only_from_where_it_is<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let there = end(&bench.events(&[], &["a", "b"]));
    let adopt = async |from: Mark, to: Mark| {
        bench.store.mark_adopt(bench.consumer, &from, &to).await.expect("answered")
    };
    assert!(!adopt(there, origin()).await);
    assert!(adopt(origin(), there).await);
    assert_eq!(bench.mark().await, there);
    assert!(adopt(there, origin()).await, "also back");
    assert!(bench.halt("a reason").await);
    assert!(!adopt(origin(), there).await);
    let leased = bench.leased().await;
    assert_eq!((leased.mark, leased.halted.as_deref()), (origin(), Some("a reason")));
}

/// A replica that was paused while another halted the consumer applies nothing more, though the mark has not moved.
pub async fn a_halted_mark_does_not_move<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let there = end(&bench.events(&[], &["a"]));
    assert!(bench.halt("a reason").await);
    let mut tx = bench.store.begin().await.expect("begins");
    let moved = tx.mark_advance(bench.consumer, &origin(), &there).await.expect("answered");
    tx.rollback().await;
    assert!(!moved, "the consumer is halted");
    assert_eq!(bench.mark().await, origin());
}

/// Only the replica that took the lease last can halt a consumer, and only at its mark.
pub async fn a_replica_that_slept_halts_nothing<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["a"]);
    let halt = async |owner: Uuid, at: Mark| {
        bench.store.halt(bench.consumer, owner, &at, "a reason").await.expect("answered")
    };
    // The lease runs out, another takes it and goes on; then the first one goes on.
    assert!(bench.lease(bench.owner, Duration::ZERO).await.is_some());
    let other = Uuid::new_v4();
    assert!(bench.lease(other, LONG).await.is_some());
    assert!(!halt(bench.owner, origin()).await, "another has the lease");
    let mut tx = bench.store.begin().await.expect("begins");
    assert!(tx.mark_advance(bench.consumer, &origin(), &end(&events)).await.expect("answered"));
    tx.commit().await.expect("commits");
    assert!(!halt(other, origin()).await, "the mark is elsewhere");
    assert_eq!(bench.lease(other, LONG).await.expect("leased").halted, None);
    assert!(halt(other, end(&events)).await);
    assert_eq!(bench.lease(other, LONG).await.expect("leased").halted.as_deref(), Some("a reason"));
}

/// No effect without the mark, no mark without the effect.
pub async fn effects_and_mark_commit_together_or_not_at_all<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["a"]);
    let begin = async || {
        let mut tx = bench.store.begin().await.expect("begins");
        let moved = tx.mark_advance(bench.consumer, &origin(), &end(&events)).await;
        assert!(moved.expect("answered"));
        bench.harness.count_up(&mut tx, &aggregate("a")).await.expect("counts");
        tx
    };
    begin().await.rollback().await;
    assert_eq!((bench.counts(&["a"]).await, bench.mark().await), (vec![0], origin()));
    begin().await.commit().await.expect("commits");
    assert_eq!((bench.counts(&["a"]).await, bench.mark().await), (vec![1], end(&events)));
}

/// A duplicate has no effect, however late it comes.
pub async fn a_run_that_comes_again_has_no_effect<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["a", "b", "a"]);
    assert_eq!(bench.apply(&events).await, Outcome::Applied(end(&events)));
    let mut applier = bench.applier(100);
    for run in [&events[..], &events[..1]] {
        assert_eq!(applier.apply(origin(), run).await, Outcome::Moved(end(&events)));
    }
    assert_eq!(applier.apply(Mark::after(&events[0]), &events[1..]).await, Outcome::Moved(end(&events)));
    assert_eq!(bench.counts(&["a", "b"]).await, [2, 1], "each has its effect once");
    assert_eq!(bench.effects.committed_positions(), [1, 2, 3]);
}

/// A replica that lost its lease in the middle of a run may still apply it: only the compare-and-set prevents that.
pub async fn two_replicas_apply_a_run_once<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let mut events = Vec::new();
    for _ in 0..10 {
        let run = bench.events(&events, &["a", "b", "a"]);
        let from = end(&events);
        events.extend(run.clone());
        let (mut ann, mut bob) = (bench.applier(100), bench.applier(100));
        let outcomes = join(ann.apply(from, &run), bob.apply(from, &run)).await;
        for outcome in [outcomes.0, outcomes.1] {
            assert!(
                matches!(&outcome, Outcome::Applied(mark) | Outcome::Moved(mark) if *mark == end(&run)),
                "each replica ends at the end of the run: {outcome:?}"
            );
        }
    }
    assert_eq!(bench.counts(&["a", "b"]).await, [20, 10], "each has its effect once");
}

/// A conflict or an absent database says nothing about the event.
pub async fn a_transient_failure_is_retried_and_parks_nothing<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["a", "b", "c", "d"]);
    bench.fail(&events[2], Failure::Transient { times: 4 });
    assert_eq!(bench.apply(&events).await, Outcome::Applied(end(&events)));
    assert_eq!(bench.counts(&["a", "b", "c", "d"]).await, [1, 1, 1, 1]);
    assert_eq!(bench.parked_positions().await, [0; 0]);
}

/// The events before it are applied; the event itself and those after it are not.
pub async fn a_halting_effect_stops_right_before_its_event<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["a", "b", "c", "d"]);
    bench.fail(&events[2], Failure::Halt);
    assert_eq!(bench.apply(&events).await, Outcome::Halted);
    assert_eq!(bench.counts(&["a", "b", "c", "d"]).await, [1, 1, 0, 0]);
    let leased = bench.leased().await;
    assert_eq!((leased.mark, leased.halted.as_deref()), (end(&events[..2]), Some("made to halt")));
    assert_eq!(bench.parked_positions().await, [0; 0]);
}
