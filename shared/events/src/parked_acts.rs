//! Applying and dropping parked events for an operator. The outcome of a request is kept in the same transaction as
//! what the request did. When it is not known whether that was committed, here or at the operator's, a repeat of the
//! request finds the outcome. The transaction of a skip also records who dropped which event, and why.

use types::EventId;
use uuid::Uuid;

use crate::admin::{AdminError, ConsumerHandle, Retried, Skipped, finish, patiently};
use crate::consumer::apply::error_text;
use crate::effects::{EffectError, Effects};
use crate::envelope::{Aggregate, Event};
use crate::machine::STREAM_REWOUND;
use crate::resync::is_hold;
use crate::store::{Act, ConsumerStore, ConsumerTx, Parked, Skip, StoreError};

const RETRY: &str = "retry";
const SKIP: &str = "skip";
const ENDED: &str = "ended";
const GOES_ON: &str = "goes on";

/// How far a retry of an aggregate has come.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    retried: Retried,
    /// Whether the request has its answer.
    ended: bool,
}

/// What one transaction of a retry did.
enum Step {
    Applied(Box<Event>, Progress),
    Ended(Retried),
}

impl<S: ConsumerStore, E: Effects<S::Tx>, P: crate::source::Source> ConsumerHandle<S, E, P> {
    pub(crate) async fn retry_all(
        &self,
        aggregate: &Aggregate,
        request_id: Uuid,
    ) -> Result<Retried, AdminError> {
        // Only the last act is kept with the mark, and other requests may come in between.
        let mut progress = Progress::default();
        loop {
            let step = patiently(|| self.retry_first(aggregate, request_id, progress)).await;
            let (event_id, error) = match step {
                Ok(Step::Applied(event, now)) => {
                    self.effects.committed(std::slice::from_ref(&*event));
                    progress = now;
                    if progress.ended {
                        return Ok(progress.retried);
                    }
                    continue;
                }
                Ok(Step::Ended(Retried { applied: 0, .. })) => return Err(AdminError::NotParked),
                Ok(Step::Ended(retried)) => return Ok(retried),
                Err(AdminError::StillFailing { event_id, error }) => (event_id, error),
                Err(error) => return Err(error),
            };
            let failed = (event_id, error.clone());
            let retried = patiently(|| self.note_failure(aggregate, request_id, progress, &failed)).await;
            return match retried? {
                Retried { applied: 0, .. } => Err(AdminError::StillFailing { event_id, error }),
                retried => Ok(retried),
            };
        }
    }

    /// Applies the oldest parked event of an aggregate, unless the request has its answer.
    async fn retry_first(
        &self,
        aggregate: &Aggregate,
        request_id: Uuid,
        so_far: Progress,
    ) -> Result<Step, AdminError> {
        let mut tx = self.store.begin().await?;
        match self.apply_first(&mut tx, aggregate, request_id, so_far).await {
            Ok(step @ Step::Applied(..)) => {
                tx.commit().await?;
                Ok(step)
            }
            other => {
                tx.rollback().await;
                other
            }
        }
    }

    async fn apply_first(
        &self,
        tx: &mut S::Tx,
        aggregate: &Aggregate,
        request_id: Uuid,
        so_far: Progress,
    ) -> Result<Step, AdminError> {
        let Some(locked) = tx.mark_lock(self.consumer).await? else {
            return Ok(Step::Ended(Retried::default()));
        };
        let before = self.progress(tx, aggregate, request_id, so_far).await?;
        if before.ended {
            return Ok(Step::Ended(before.retried));
        }
        // After a rewind the parked events are of a history that the producer no longer has, and during a resync the
        // snapshot contains them. Any other halt is about an event that is not parked.
        if let Some(reason) = locked.halted.filter(|reason| reason == STREAM_REWOUND || is_hold(reason)) {
            return Err(AdminError::Halted(reason));
        }
        let Some((first, remaining)) = tx.parked_first(self.consumer, aggregate).await? else {
            return Ok(Step::Ended(Retried { remaining: 0, ..before.retried }));
        };
        let event = first.event;
        tx.parked_remove(self.consumer, event.new.id).await?;
        let failing =
            |error: String| AdminError::StillFailing { event_id: event.new.id, error: error_text(&error) };
        match self.effects.apply(tx, std::slice::from_ref(&event)).await {
            Ok(()) => {}
            Err(EffectError::Transient(source)) => {
                return Err(AdminError::Store(StoreError::Transient(source)));
            }
            Err(EffectError::Permanent(source)) => return Err(failing(types::chain(source.as_ref()))),
            Err(EffectError::Halt(reason)) => return Err(failing(reason)),
        }
        let retried = Retried { applied: before.retried.applied + 1, remaining };
        let progress = Progress { retried, ended: remaining == 0 };
        tx.act_keep(self.consumer, &progress.act(aggregate, request_id)).await?;
        Ok(Step::Applied(Box::new(event), progress))
    }

    async fn progress(
        &self,
        tx: &mut S::Tx,
        aggregate: &Aggregate,
        request_id: Uuid,
        so_far: Progress,
    ) -> Result<Progress, AdminError> {
        match tx.act(self.consumer).await? {
            Some(act) if act.request_id == request_id => Progress::read(&act, aggregate),
            _ => Ok(so_far),
        }
    }

    /// Counts the attempt, and ends a request that has applied something before.
    async fn note_failure(
        &self,
        aggregate: &Aggregate,
        request_id: Uuid,
        so_far: Progress,
        (event_id, error): &(EventId, String),
    ) -> Result<Retried, AdminError> {
        let mut tx = self.store.begin().await?;
        let noted = async {
            tx.mark_lock(self.consumer).await?;
            let mut remaining = 0;
            if let Some((first, behind)) = tx.parked_first(self.consumer, aggregate).await? {
                remaining = behind + 1;
                // Another request may have applied or dropped the event meanwhile.
                if first.event.new.id == *event_id {
                    tx.park(self.consumer, &first.event, first.attempts.saturating_add(1), error).await?;
                }
            }
            let before = self.progress(&mut tx, aggregate, request_id, so_far).await?;
            let retried = Retried { remaining, ..before.retried };
            if retried.applied > 0 {
                let act = Progress { retried, ended: true }.act(aggregate, request_id);
                tx.act_keep(self.consumer, &act).await?;
            }
            Ok(retried)
        };
        let noted = noted.await;
        finish(tx, noted).await
    }

    pub(crate) async fn skip_one(&self, skip: &Skip) -> Result<Skipped, AdminError> {
        let Skip { event_id, request_id, .. } = *skip;
        let mut tx = self.store.begin().await?;
        let skipped = async {
            tx.mark_lock(self.consumer).await?;
            if let Some(act) = tx.act(self.consumer).await?
                && act.request_id == request_id
            {
                return Skipped::read(&act, event_id);
            }
            let parked = tx.parked_remove(self.consumer, event_id).await?.ok_or(AdminError::NotParked)?;
            let skipped = Skipped::of(&parked);
            tx.act_keep(self.consumer, &skipped.act(request_id)).await?;
            tx.skip_record(self.consumer, skipped.position, skip).await?;
            Ok(skipped)
        };
        let skipped = skipped.await;
        finish(tx, skipped).await
    }
}

impl Progress {
    fn act(&self, of: &Aggregate, request_id: Uuid) -> Act {
        let Retried { applied, remaining } = self.retried;
        let state = if self.ended { ENDED } else { GOES_ON };
        Act { request_id, outcome: lines(&[&RETRY, &of.kind, &of.id, &applied, &remaining, &state]) }
    }

    fn read(act: &Act, of: &Aggregate) -> Result<Self, AdminError> {
        let words: Vec<&str> = act.outcome.split('\n').collect();
        match words[..] {
            [RETRY, kind, id, applied, remaining, state] if (kind, id) == (&of.kind, &of.id) => {
                let retried = Retried { applied: number(applied)?, remaining: number(remaining)? };
                Ok(Self { retried, ended: state == ENDED })
            }
            _ => Err(AdminError::RequestIdReused),
        }
    }
}

impl Skipped {
    fn of(parked: &Parked) -> Self {
        let event = &parked.event;
        Self {
            event_id: event.new.id,
            event_type: event.new.event_type.clone(),
            aggregate: event.new.aggregate.clone(),
            position: event.position,
        }
    }

    fn act(&self, request_id: Uuid) -> Act {
        let Self { event_id, event_type, aggregate, position } = self;
        let outcome = lines(&[&SKIP, event_id, event_type, &aggregate.kind, &aggregate.id, position]);
        Act { request_id, outcome }
    }

    fn read(act: &Act, event_id: EventId) -> Result<Self, AdminError> {
        let words: Vec<&str> = act.outcome.split('\n').collect();
        match words[..] {
            [SKIP, id, event_type, kind, aggregate_id, position] if id == event_id.to_string() => Ok(Self {
                event_id,
                event_type: event_type.to_owned(),
                aggregate: Aggregate { kind: kind.to_owned(), id: aggregate_id.to_owned() },
                position: number(position)?,
            }),
            _ => Err(AdminError::RequestIdReused),
        }
    }
}

/// One word a line, since names contain no line breaks.
fn lines(words: &[&dyn std::fmt::Display]) -> String {
    words.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn number<N: std::str::FromStr>(word: &str) -> Result<N, AdminError> {
    let damaged = || {
        AdminError::Store(StoreError::Permanent(
            "the outcome that is kept with the mark cannot be read".into(),
        ))
    };
    word.parse().map_err(|_| damaged())
}
