//! What every [`ConsumerStore`] does, whatever its database, and what the engine makes of it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join;
use types::EventId;
use uuid::Uuid;

use super::{aggregate, new_event, until};
use crate::admin::{AdminError, BoxFuture, ConsumerAdmin as _, ConsumerHandle, Rebuild, Retried, Snapshot};
use crate::apply::{Applier, Claim, ERROR_CHARS, Outcome, TOO_MANY_PARKED};
use crate::consumer::ConsumerOptions;
use crate::envelope::{Aggregate, Event};
use crate::history::History;
use crate::source::{Pages, Source, SourceError};
use crate::store::{
    ConsumerId, ConsumerStore, ConsumerTx, EffectError, Effects, Head, HoldClaim, LeasedMark, Mark, Position,
    Resynced, Skip, Standing, StoreError,
};

/// A service's consumer store on a fresh database: no mark, nothing parked.
pub trait ConsumerHarness: Send + Sync + 'static {
    /// The store.
    type Store: ConsumerStore;

    /// The store; every call may give the same.
    fn store(&self) -> Self::Store;

    /// A consumer that the store can keep a mark of.
    fn consumer(&self) -> ConsumerId;

    /// The effect of the suite's events: adds one to a counter of the aggregate, through the transaction. The
    /// counter's table is the harness' own.
    fn count_up(
        &self,
        tx: &mut <Self::Store as ConsumerStore>::Tx,
        aggregate: &Aggregate,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What the counter of an aggregate stands at, as committed; 0 when it was never counted up.
    fn count(&self, aggregate: &Aggregate) -> impl Future<Output = i64> + Send;

    /// The record of skipped events of the consumer, in any order: where each was, and the wish.
    fn skips(&self) -> impl Future<Output = Vec<(Position, Skip)>> + Send;
}

/// Makes a test of each scenario of this suite; takes an `async fn() -> impl ConsumerHarness`.
#[macro_export]
macro_rules! consumer_suite {
    ($start:expr) => {
        $crate::conformance_tests!(
            consumer,
            $start,
            one_replica_at_a_time_has_the_mark,
            a_mark_moves_only_from_where_it_is,
            a_mark_is_put_elsewhere_only_from_where_it_is,
            a_halted_mark_does_not_move,
            a_replica_that_slept_halts_nothing,
            a_resync_that_lost_its_hold_ends_nothing,
            a_hold_lasts_until_it_runs_out,
            a_resync_that_lost_its_hold_removes_nothing,
            a_repeat_on_another_replica_hears_that_the_resync_goes_on,
            effects_and_mark_commit_together_or_not_at_all,
            a_run_that_comes_again_has_no_effect,
            two_replicas_apply_a_run_once,
            a_transient_failure_is_retried_and_parks_nothing,
            what_can_never_be_applied_is_parked_whole_and_alone,
            later_events_of_a_parked_aggregate_wait_behind_it,
            a_halting_effect_stops_right_before_its_event,
            too_many_parked_aggregates_halt_the_consumer,
            a_retry_applies_the_list_in_order,
            an_error_is_kept_up_to_a_length,
            a_skip_drops_one_event,
            a_skip_is_recorded_with_who_and_why,
            a_repeat_of_an_act_hears_what_it_came_to,
            acts_at_the_same_time_hear_what_each_came_to,
            while_its_history_is_in_doubt_nothing_parked_is_applied,
            retries_and_new_events_do_not_race,
            parked_events_are_listed_by_position,
            a_resync_clears_a_halt_only_in_the_same_history,
        );
    };
}

const HOLD: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);
const EPOCH: Uuid = Uuid::from_u128(0xe0);

/// How an event is made to fail.
enum Failure {
    Permanent,
    Wordy,
    Transient { times: u32 },
    Halt,
}

/// The suite's effects: count up, unless told to fail.
struct Counting<H> {
    harness: Arc<H>,
    failures: Mutex<HashMap<EventId, Failure>>,
    committed: Mutex<Vec<Position>>,
}

impl<H> Counting<H> {
    fn failures(&self) -> MutexGuard<'_, HashMap<EventId, Failure>> {
        self.failures.lock().expect("no holder of this lock panics")
    }

    fn committed_positions(&self) -> Vec<Position> {
        self.committed.lock().expect("no holder of this lock panics").clone()
    }

    fn failure_of(&self, event: &Event) -> Option<EffectError> {
        match self.failures().get_mut(&event.new.id)? {
            Failure::Permanent => Some(EffectError::Permanent("made to fail".into())),
            Failure::Wordy => Some(EffectError::Permanent("é".repeat(5000).into())),
            Failure::Halt => Some(EffectError::Halt("made to halt".to_owned())),
            Failure::Transient { times: 0 } => None,
            Failure::Transient { times } => {
                *times -= 1;
                Some(EffectError::Transient("made to wait".into()))
            }
        }
    }
}

impl<H: ConsumerHarness> Effects<<H::Store as ConsumerStore>::Tx> for Counting<H> {
    async fn apply(
        &self,
        tx: &mut <H::Store as ConsumerStore>::Tx,
        run: &[Event],
    ) -> Result<(), EffectError> {
        for event in run {
            // After the effect, so that a rollback has something to undo.
            self.harness.count_up(tx, &event.new.aggregate).await?;
            if let Some(error) = self.failure_of(event) {
                return Err(error);
            }
        }
        Ok(())
    }

    fn committed(&self, run: &[Event]) {
        let mut committed = self.committed.lock().expect("no holder of this lock panics");
        committed.extend(run.iter().map(|event| event.position));
    }
}

/// A producer that only answers about history.
#[derive(Clone)]
struct Historian {
    same: bool,
}

impl Source for Historian {
    async fn head(&self, stream: &str) -> Result<Head, SourceError> {
        Ok(Head { stream: stream.to_owned(), epoch: EPOCH, position: 0, event_id: None, oldest: 0 })
    }

    async fn replay(&self, _: &str, _: Uuid, _: Position, _: bool) -> Result<Pages, SourceError> {
        Err(SourceError::Unavailable("no replay in this test".into()))
    }

    async fn resume(&self, stream: &str, _: &Mark) -> Result<History, SourceError> {
        let head = self.head(stream).await?;
        Ok(if self.same { History::Same(head) } else { History::Rewound(head) })
    }

    async fn acknowledge(&self, _: ConsumerId, _: &Mark) -> Result<(), SourceError> {
        Ok(())
    }
}

/// The suite's parts around a harness.
struct Bench<H: ConsumerHarness> {
    harness: Arc<H>,
    store: H::Store,
    consumer: ConsumerId,
    effects: Arc<Counting<H>>,
    owner: Uuid,
}

impl<H: ConsumerHarness> Bench<H> {
    fn new(harness: H) -> Self {
        let harness = Arc::new(harness);
        let effects = Arc::new(Counting {
            harness: harness.clone(),
            failures: Mutex::default(),
            committed: Mutex::default(),
        });
        let (store, consumer) = (harness.store(), harness.consumer());
        Self { harness, store, consumer, effects, owner: Uuid::new_v4() }
    }

    /// With a mark that stands at the beginning of the suite's history.
    async fn begun(harness: H) -> Self {
        let bench = Self::new(harness);
        assert_eq!(bench.leased().await.mark, Mark::START);
        let begun = bench.store.mark_adopt(bench.consumer, &Mark::START, &origin()).await;
        assert!(begun.expect("answered"));
        bench
    }

    async fn leased(&self) -> LeasedMark {
        self.lease(self.owner, LONG).await.expect("the mark is this owner's")
    }

    async fn lease(&self, owner: Uuid, duration: Duration) -> Option<LeasedMark> {
        self.store.mark_lease(self.consumer, owner, duration).await.expect("the lease is answered")
    }

    /// Halts the consumer at the beginning.
    async fn halt(&self, reason: &str) -> bool {
        self.leased().await;
        self.store.halt(self.consumer, self.owner, &origin(), reason).await.expect("answered")
    }

    async fn mark(&self) -> Mark {
        let mut tx = self.store.begin().await.expect("begins");
        let locked = tx.mark_lock(self.consumer).await.expect("answered").expect("there is a mark");
        tx.rollback().await;
        locked.mark
    }

    async fn hold(&self, reason: &str, duration: Duration) -> HoldClaim {
        let claim = self.store.resync_hold(self.consumer, reason, duration).await.expect("answered");
        claim.expect("there is a mark")
    }

    async fn standing(&self) -> Standing {
        self.store.standing(self.consumer).await.expect("answered").expect("there is a mark")
    }

    /// Whether a resync still has its hold, which renews it.
    async fn holds(&self, held: &str, duration: Duration) -> bool {
        let mut tx = self.store.begin().await.expect("begins");
        let holds = tx.resync_holds(self.consumer, held, duration).await.expect("answered");
        tx.commit().await.expect("commits");
        holds
    }

    fn skip(&self, event: &Event, request_id: Uuid) -> Skip {
        let (caller, justification) = ("admin Ann".to_owned(), "done by hand\nin the books".to_owned());
        Skip { event_id: event.new.id, request_id, caller, justification }
    }

    fn applier(&self, parked_aggregates_max: u64) -> Applier<H::Store, Counting<H>> {
        let options = ConsumerOptions { parked_aggregates_max, lease: LONG, ..ConsumerOptions::default() };
        let claim = Claim::with_owner(self.consumer, self.store.clone(), self.owner, options.lease);
        Applier::new(claim, self.effects.clone(), options)
    }

    async fn apply(&self, run: &[Event]) -> Outcome {
        self.applier(100).apply(self.mark().await, run).await
    }

    fn handle(&self, same: bool) -> ConsumerHandle<H::Store, Counting<H>, Historian> {
        ConsumerHandle::new(self.consumer, self.store.clone(), self.effects.clone(), Historian { same })
    }

    fn fail(&self, event: &Event, failure: Failure) {
        self.effects.failures().insert(event.new.id, failure);
    }

    fn heal(&self, event: &Event) {
        self.effects.failures().remove(&event.new.id);
    }

    async fn counts(&self, names: &[&str]) -> Vec<i64> {
        let mut counts = Vec::new();
        for name in names {
            counts.push(self.harness.count(&aggregate(name)).await);
        }
        counts
    }

    async fn parked_positions(&self) -> Vec<Position> {
        let parked = self.store.parked_list(self.consumer.name, 0, 100).await.expect("answered");
        parked.iter().map(|parked| parked.event.position).collect()
    }

    /// The next events of the history after `after`, one of each of these aggregates.
    fn events(&self, after: &[Event], names: &[&str]) -> Vec<Event> {
        let mut all = after.to_vec();
        for name in names {
            let aggregate = aggregate(name);
            let version = 1 + all.iter().filter(|event| event.new.aggregate == aggregate).count();
            let position = all.last().map_or(1, |last| last.position + 1);
            all.push(Event {
                stream: self.consumer.stream.to_owned(),
                epoch: EPOCH,
                position,
                previous: all.last().map(|last| last.new.id),
                new: new_event(&aggregate, i64::try_from(version).expect("few")),
            });
        }
        all.split_off(after.len())
    }
}

fn origin() -> Mark {
    Mark { epoch: EPOCH, ..Mark::START }
}

fn end(events: &[Event]) -> Mark {
    events.last().map_or(origin(), Mark::after)
}

/// The mark begins at the start, is one replica's until its lease runs out or is given back, and a takeover
/// raises the fence and moves nothing.
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

/// The compare-and-set under everything: by position, epoch and event.
pub async fn a_mark_moves_only_from_where_it_is<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// As the adoption of an epoch needs it: not by a replica that slept through the halt of another.
pub async fn a_mark_is_put_elsewhere_only_from_where_it_is<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// Only who took the lease last halts a consumer, and only where it is.
pub async fn a_replica_that_slept_halts_nothing<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
    let events = bench.events(&[], &["a"]);
    let halt = async |owner: Uuid, at: Mark| {
        bench.store.halt(bench.consumer, owner, &at, "a reason").await.expect("answered")
    };
    // The lease runs out, another takes it and goes on; then the first one wakes.
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

/// Of two resyncs at once one ends, and its answer stays for whoever repeats the request.
pub async fn a_resync_that_lost_its_hold_ends_nothing<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// By the database's clock: until then another resync, or a repeat of the same one, is told whose hold it is. What is
/// written for a resync renews its hold, also one that ran out, as long as nobody has taken it.
pub async fn a_hold_lasts_until_it_runs_out<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// A resync that slept until another had taken it over, and ended, removes no event that was parked after that.
pub async fn a_resync_that_lost_its_hold_removes_nothing<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// A rebuild of nothing that begins at the suite's origin, and gives way to others.
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

/// Each replica knows its own jobs alone: what keeps a repeat of the request from beginning again is the hold.
pub async fn a_repeat_on_another_replica_hears_that_the_resync_goes_on<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
    let begun = Arc::new(AtomicU32::new(0));
    let handle = bench.handle(true).with_snapshot(Arc::new(Rebuilding(begun.clone())));
    let request_id = Uuid::new_v4();
    let running = format!("resync {request_id} run {}", Uuid::new_v4());
    assert_eq!(bench.hold(&running, HOLD).await, HoldClaim::Held(origin()));
    for asked in [request_id, Uuid::new_v4()] {
        let told = handle.resync(asked).await;
        assert!(matches!(told, Err(AdminError::InProgress(id)) if id == request_id), "{told:?}");
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

/// A replica that slept through the halt of another applies nothing more, though the mark is where it left it.
pub async fn a_halted_mark_does_not_move<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
    let there = end(&bench.events(&[], &["a"]));
    assert!(bench.halt("a reason").await);
    let mut tx = bench.store.begin().await.expect("begins");
    let moved = tx.mark_advance(bench.consumer, &origin(), &there).await.expect("answered");
    tx.rollback().await;
    assert!(!moved, "the consumer is halted");
    assert_eq!(bench.mark().await, origin());
}

/// No effect without the mark, no mark without the effect.
pub async fn effects_and_mark_commit_together_or_not_at_all<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// Effect once, at any later time.
pub async fn a_run_that_comes_again_has_no_effect<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// A replica that lost its lease in the middle of a run may still be at it: the compare-and-set is the guard.
pub async fn two_replicas_apply_a_run_once<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// A conflict or an absent database is no fault of the event.
pub async fn a_transient_failure_is_retried_and_parks_nothing<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
    let events = bench.events(&[], &["a", "b", "c", "d"]);
    bench.fail(&events[2], Failure::Transient { times: 4 });
    assert_eq!(bench.apply(&events).await, Outcome::Applied(end(&events)));
    assert_eq!(bench.counts(&["a", "b", "c", "d"]).await, [1, 1, 1, 1]);
    assert_eq!(bench.parked_positions().await, [0; 0]);
}

/// One poisonous event of eight: the other seven are applied once, and it is kept whole.
pub async fn what_can_never_be_applied_is_parked_whole_and_alone<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// Order per aggregate survives a poisonous event, also across runs.
pub async fn later_events_of_a_parked_aggregate_wait_behind_it<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// What is before the event is applied; it and what is after it is not.
pub async fn a_halting_effect_stops_right_before_its_event<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
    let events = bench.events(&[], &["a", "b", "c", "d"]);
    bench.fail(&events[2], Failure::Halt);
    assert_eq!(bench.apply(&events).await, Outcome::Halted);
    assert_eq!(bench.counts(&["a", "b", "c", "d"]).await, [1, 1, 0, 0]);
    let leased = bench.leased().await;
    assert_eq!((leased.mark, leased.halted.as_deref()), (end(&events[..2]), Some("made to halt")));
    assert_eq!(bench.parked_positions().await, [0; 0]);
}

/// Many poisonous aggregates are a defect: nothing is gained by parking the whole stream.
pub async fn too_many_parked_aggregates_halt_the_consumer<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// Up to the first that still fails, whose attempts are counted.
pub async fn a_retry_applies_the_list_in_order<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// However much an error says, also when a retry met it.
pub async fn an_error_is_kept_up_to_a_length<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
    let events = bench.events(&[], &["a"]);
    bench.fail(&events[0], Failure::Wordy);
    bench.apply(&events).await;
    let kept = async |attempts: i32| {
        let parked = bench.store.parked_list(bench.consumer.name, 0, 10).await.expect("answered");
        assert_eq!((parked[0].attempts, parked[0].error.chars().count()), (attempts, ERROR_CHARS));
    };
    kept(1).await;
    let told = bench.handle(true).retry(aggregate("a"), Uuid::new_v4()).await;
    let Err(AdminError::StillFailing { error, .. }) = told else { panic!("{told:?}") };
    assert_eq!(error.chars().count(), ERROR_CHARS);
    kept(2).await;
}

/// One, for good; those behind it stay.
pub async fn a_skip_drops_one_event<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// The record says who dropped which event and why, once for each, whatever became of the log; what was not dropped
/// is not in it.
pub async fn a_skip_is_recorded_with_who_and_why<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
    let handle = bench.handle(true);
    let events = bench.events(&[], &["a", "a", "b"]);
    bench.fail(&events[0], Failure::Permanent);
    bench.apply(&events).await;
    let wishes: Vec<Skip> = events[..2].iter().map(|event| bench.skip(event, Uuid::new_v4())).collect();
    for wish in &wishes {
        for _ in 0..2 {
            handle.skip(wish.clone()).await.expect("it is parked, or the answer is kept");
        }
    }
    let refused = handle.skip(bench.skip(&events[2], Uuid::new_v4())).await;
    assert!(matches!(refused, Err(AdminError::NotParked)), "{refused:?}");
    let mut recorded = bench.harness.skips().await;
    recorded.sort_by_key(|(position, _)| *position);
    assert_eq!(recorded, [(1, wishes[0].clone()), (2, wishes[1].clone())]);
}

/// The mark keeps the last act alone, and another's takes its place while a retry is at it.
pub async fn acts_at_the_same_time_hear_what_each_came_to<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// What is parked is of a history that may not be the producer's, or of one that a snapshot is about to replace. A halt
/// for what is not parked is no obstacle.
pub async fn while_its_history_is_in_doubt_nothing_parked_is_applied<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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
        let told = handle.retry(aggregate("a"), Uuid::new_v4()).await;
        assert!(matches!(&told, Err(AdminError::Halted(reason)) if reason == why), "{told:?}");
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

/// Whoever never heard what a skip or a retry came to asks again with its request id and hears it; with another wish
/// the id is refused, and another id finds nothing left to do.
pub async fn a_repeat_of_an_act_hears_what_it_came_to<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// New events of an aggregate come in while its list is retried: each has its effect once and none is left.
pub async fn retries_and_new_events_do_not_race<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// Pages join; parking an event again replaces its attempts and error.
pub async fn parked_events_are_listed_by_position<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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

/// Without a snapshot, a halt is cleared only if the producer still has the mark's history.
pub async fn a_resync_clears_a_halt_only_in_the_same_history<H: ConsumerHarness>(harness: H) {
    let bench = Bench::begun(harness).await;
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
