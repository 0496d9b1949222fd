//! What every [`ConsumerStore`] does, whatever its database, and how the engine works on top of it.

mod marks;
mod parking;
mod resync;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use types::EventId;
use uuid::Uuid;

pub use self::marks::*;
pub use self::parking::*;
pub use self::resync::*;
use super::{aggregate, new_event};
use crate::admin::ConsumerHandle;
use crate::consumer::ConsumerOptions;
use crate::consumer::apply::{Applier, Outcome};
use crate::consumer::claim::Claim;
use crate::consumer::metrics::Counts;
use crate::effects::{EffectError, Effects};
use crate::envelope::{Aggregate, Event, Position};
use crate::history::History;
use crate::source::{Pages, Source, SourceError};
use crate::store::{
    ConsumerId, ConsumerStore, ConsumerTx, Head, HoldClaim, LeasedMark, Mark, Skip, Standing, StoreError,
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

    /// The committed value of an aggregate's counter; 0 when it was never counted up.
    fn count(&self, aggregate: &Aggregate) -> impl Future<Output = i64> + Send;

    /// The consumer's record of skipped events, in any order: the position of each, and the request.
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
    /// As `Permanent`, with a very long error.
    Verbose,
    Transient {
        times: u32,
    },
    Halt,
}

/// The suite's effects: they count up, unless an event is made to fail.
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
            Failure::Verbose => Some(EffectError::Permanent("é".repeat(5000).into())),
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

/// A producer that only answers questions about its history.
#[derive(Clone)]
struct HistoryOnly {
    same: bool,
}

impl Source for HistoryOnly {
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

/// A harness with what the scenarios need around it.
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

    /// A bench whose mark is at the beginning of the suite's history.
    async fn started(harness: H) -> Self {
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
        Applier::new(claim, self.effects.clone(), options, Counts::of(self.consumer))
    }

    async fn apply(&self, run: &[Event]) -> Outcome {
        self.applier(100).apply(self.mark().await, run).await
    }

    fn handle(&self, same: bool) -> ConsumerHandle<H::Store, Counting<H>, HistoryOnly> {
        ConsumerHandle::new(self.consumer, self.store.clone(), self.effects.clone(), HistoryOnly { same })
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
