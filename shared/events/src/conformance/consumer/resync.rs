//! Resyncs: their hold, what they clear, and what waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use uuid::Uuid;

use super::super::{aggregate, until};
use super::{Bench, ConsumerHarness, Failure, HOLD, LONG, SHORT, end, origin};
use crate::admin::{AdminError, BoxFuture, ConsumerAdmin as _, Rebuild, Retried, Snapshot};
use crate::consumer::transactions::TOO_MANY_PARKED;
use crate::store::{ConsumerStore as _, HoldClaim, Mark, Resynced, Standing, StoreError};

/// Of two resyncs at the same time one completes, and its answer is kept for a repeat of the request.
pub async fn a_resync_that_lost_its_hold_ends_nothing<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let there = end(&bench.events(&[], &["a", "b"]));
    let done = Resynced { request_id: Uuid::new_v4(), aggregates: 7, position: there.position };
    let end_of = async |held: Option<&str>| {
        let ended = bench.store.resync_end(bench.consumer, &origin(), &there, held, &done).await;
        ended.expect("answered")
    };
    let hold = async |reason: &str, duration| bench.hold(reason, duration).await;
    assert_eq!(hold("resync one", Duration::ZERO).await, HoldClaim::Held(origin()));
    assert_eq!(hold("resync two", LONG).await, HoldClaim::Held(origin()));
    assert!(!end_of(Some("resync one")).await);
    assert!(!end_of(None).await);
    let held = Standing { mark: origin(), halted: Some("resync two".to_owned()), held: true, resynced: None };
    assert_eq!(bench.standing().await, held);
    assert!(end_of(Some("resync two")).await);
    let ended = Standing { mark: there, halted: None, held: false, resynced: Some(done) };
    assert_eq!(bench.standing().await, ended);
    assert!(!end_of(None).await, "the mark is elsewhere");
}

/// A hold runs out by the database's clock. Until then another resync, or a repeat of the same one, is told whose hold
/// it is. Each write of a resync renews its hold, even after it ran out, as long as nobody has taken it.
pub async fn a_hold_lasts_until_it_runs_out<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    assert!(bench.halt("stream_rewound").await);
    assert_eq!(bench.hold("resync one", SHORT).await, HoldClaim::Held(origin()), "any other halt is none");
    until("the hold runs out", async || (!bench.standing().await.held).then_some(())).await;
    assert_eq!(bench.standing().await.halted.as_deref(), Some("resync one"), "it stays halted");
    assert!(bench.holds("resync one", HOLD).await);
    assert!(bench.standing().await.held);
    let taken = HoldClaim::Taken("resync one".to_owned());
    assert_eq!(bench.hold("resync two", HOLD).await, taken);
    assert_eq!(bench.hold("resync one", HOLD).await, taken, "also its own: that is another run");
    assert!(!bench.halt("a reason").await, "a late replica does not take the hold");
    assert!(bench.holds("resync one", Duration::ZERO).await, "given back");
    assert_eq!(bench.hold("resync two", HOLD).await, HoldClaim::Held(origin()));
    assert!(!bench.holds("resync one", HOLD).await);
    let there = end(&bench.events(&[], &["a"]));
    let done = Resynced { request_id: Uuid::new_v4(), aggregates: 1, position: there.position };
    let ended = bench.store.resync_end(bench.consumer, &origin(), &there, Some("resync two"), &done).await;
    assert!(ended.expect("answered"));
    assert!(!bench.holds("resync two", HOLD).await);
    assert_eq!(bench.hold("resync three", HOLD).await, HoldClaim::Held(there), "an end lets go");
}

/// A resync that was paused until another had taken over and completed removes no event that was parked after that.
pub async fn a_resync_that_lost_its_hold_removes_nothing<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["a", "a"]);
    bench.fail(&events[0], Failure::Permanent);
    bench.apply(&events).await;
    assert_eq!(bench.hold("resync one", Duration::ZERO).await, HoldClaim::Held(end(&events)));
    assert_eq!(bench.hold("resync two", HOLD).await, HoldClaim::Held(end(&events)));
    let handle = bench.handle(true);
    let late = handle.forget_parked("resync one").await;
    assert!(matches!(late, Err(AdminError::Overtaken)), "{late:?}");
    assert_eq!(bench.parked_positions().await, [1, 2]);
    handle.forget_parked("resync two").await.expect("it has the hold");
    assert_eq!(bench.parked_positions().await, [0; 0]);
}

/// A rebuild of nothing, after which the consumer is at the beginning of the suite's history.
struct Rebuilding(Arc<AtomicU32>);

impl Snapshot for Rebuilding {
    fn open(&self) -> BoxFuture<'_, Result<Box<dyn Rebuild>, StoreError>> {
        let begun = self.0.clone();
        Box::pin(async { Ok(Box::new(Self(begun)) as Box<dyn Rebuild>) })
    }
}

impl Rebuild for Rebuilding {
    fn mark(&self) -> Mark {
        origin()
    }

    fn write(self: Box<Self>, _: String) -> BoxFuture<'static, Result<u64, StoreError>> {
        Box::pin(async move {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(3)
        })
    }
}

/// Each replica knows only its own jobs. It is the hold that keeps a repeat on another replica from beginning again.
pub async fn a_repeat_on_another_replica_hears_that_the_resync_goes_on<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let begun = Arc::new(AtomicU32::new(0));
    let handle = bench.handle(true).with_snapshot(Arc::new(Rebuilding(begun.clone())));
    let request_id = Uuid::new_v4();
    let running = format!("resync {request_id} run {}", Uuid::new_v4());
    assert_eq!(bench.hold(&running, HOLD).await, HoldClaim::Held(origin()));
    for asked in [request_id, Uuid::new_v4()] {
        let answer = handle.resync(asked).await;
        assert!(matches!(answer, Err(AdminError::InProgress(id)) if id == request_id), "{answer:?}");
    }
    assert!(bench.holds(&running, HOLD).await, "it still has its hold");
    assert_eq!(begun.load(Ordering::Relaxed), 0);
    // That replica dies, and its hold runs out.
    assert!(bench.holds(&running, Duration::ZERO).await);
    let done = handle.resync(request_id).await.expect("it is taken over");
    assert_eq!((done.request_id, done.aggregates), (request_id, 3));
    assert!(!bench.holds(&running, HOLD).await);
    assert_eq!(handle.resync(request_id).await.expect("the answer is kept"), done);
    assert_eq!(begun.load(Ordering::Relaxed), 1);
}

/// The parked events may be of a history that the producer does not have, or that a snapshot is about to replace. A
/// halt for another reason does not prevent a retry.
pub async fn while_its_history_is_in_doubt_nothing_parked_is_applied<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let handle = bench.handle(true);
    let events = bench.events(&[], &["a", "a", "b"]);
    bench.fail(&events[0], Failure::Permanent);
    bench.apply(&events).await;
    bench.heal(&events[0]);
    let at = end(&events);
    assert_eq!(bench.leased().await.mark, at);
    let clear = async |held: &str| {
        let done = Resynced { request_id: Uuid::new_v4(), aggregates: 0, position: at.position };
        let ended = bench.store.resync_end(bench.consumer, &at, &at, Some(held), &done).await;
        assert!(ended.expect("answered"), "{held}");
    };
    let refused = async |why: &str| {
        let answer = handle.retry(aggregate("a"), Uuid::new_v4()).await;
        assert!(matches!(&answer, Err(AdminError::Halted(reason)) if reason == why), "{answer:?}");
        assert_eq!(bench.counts(&["a"]).await, [0]);
        assert_eq!(bench.parked_positions().await, [1, 2]);
    };
    let halt = async |reason: &str| {
        assert!(bench.store.halt(bench.consumer, bench.owner, &at, reason).await.expect("answered"));
    };
    halt("stream_rewound").await;
    refused("stream_rewound").await;
    clear("stream_rewound").await;
    let held = format!("resync {} run {}", Uuid::new_v4(), Uuid::new_v4());
    for duration in [HOLD, Duration::ZERO] {
        assert!(
            bench.holds(&held, duration).await || bench.hold(&held, duration).await == HoldClaim::Held(at)
        );
        refused(&held).await;
    }
    clear(&held).await;
    halt(TOO_MANY_PARKED).await;
    let retried = handle.retry(aggregate("a"), Uuid::new_v4()).await.expect("applied");
    assert_eq!(retried, Retried { applied: 2, remaining: 0 });
    assert_eq!(bench.counts(&["a"]).await, [2]);
}

/// Without a snapshot, a halt is cleared only if the producer still has the mark's history.
pub async fn a_resync_clears_a_halt_only_in_the_same_history<H: ConsumerHarness>(harness: H) {
    let bench = Bench::started(harness).await;
    let events = bench.events(&[], &["a", "b"]);
    bench.apply(&events).await;
    assert_eq!(bench.leased().await.mark, end(&events));
    let halted = bench.store.halt(bench.consumer, bench.owner, &end(&events), "stream_rewound").await;
    assert!(halted.expect("answered"));
    let request_id = Uuid::new_v4();
    let refused = bench.handle(false).resync(request_id).await;
    assert!(matches!(refused, Err(AdminError::ResyncUnsupported)), "{refused:?}");
    assert_eq!(bench.leased().await.halted.as_deref(), Some("stream_rewound"));
    let resynced = bench.handle(true).resync(request_id).await.expect("the history is the same");
    assert_eq!((resynced.aggregates, resynced.position), (0, end(&events).position));
    let leased = bench.leased().await;
    assert_eq!((leased.mark, leased.halted), (end(&events), None));
    let repeat = bench.handle(false).resync(request_id).await.expect("the answer is kept");
    assert_eq!(repeat, resynced);
}
