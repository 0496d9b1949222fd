//! The wallet's owner answers, in stream `user`: what each answer does to its transfer. One run of events is one
//! piece of [`Work`]; duplicates, late answers and contradictions are `domain::transfer`'s business.

use std::str::FromStr as _;

use api::user::v1::{CreditPosted, CreditRefused, CreditReleased, CreditReserved, StepImpossible};
use events::{ConsumerId, EffectError, Effects, Event, Headers};
use prost::{Message, Name};
use types::TransferId;

use super::Coordinator;
use super::waiters::Moved;
use super::work::{Applied, Happening, Work};
use crate::domain::transfer::{Input, Reason};
use crate::storage::Tx;

/// The durable consumer that applies the answers.
pub(crate) const CONSUMER: ConsumerId = ConsumerId { name: "order.transfers", stream: "user" };

/// Applies the answers.
pub(crate) struct Answers(Coordinator);

impl Answers {
    /// Effects through a coordinator.
    pub(crate) const fn new(coordinator: Coordinator) -> Self {
        Self(coordinator)
    }
}

impl Effects<Tx> for Answers {
    async fn apply(&self, tx: &mut Tx, run: &[Event]) -> Result<(), EffectError> {
        let happenings: Vec<Happening> =
            run.iter().filter_map(|event| happening(event).transpose()).collect::<Result<_, _>>()?;
        if happenings.is_empty() {
            return Ok(());
        }
        let Self(coordinator) = self;
        let mut work = Work::lock(tx, coordinator.ids.clone(), coordinator.config, &happenings).await?;
        for happening in &happenings {
            if work.apply(happening).await? == Applied::Unknown {
                // This database was put back to a time before the transfer, or it was never ours. The
                // participant will ask for the decision and hear what holds in this history.
                tracing::warn!(transfer.id = %happening.transfer_id, input = ?happening.input,
                    "an answer for a transfer that is unknown here");
            }
        }
        work.save(tx).await?;
        for happening in &happenings {
            fault::point!("transfer.moving", happening.input.as_str());
        }
        Ok(())
    }

    fn concerns(&self, event: &Event) -> bool {
        !matches!(happening(event), Ok(None))
    }

    fn committed(&self, run: &[Event]) {
        let moved = run.iter().filter_map(|event| happening(event).ok().flatten());
        self.0.waiters.wake(moved.map(|happening| {
            fault::point!("transfer.moved", happening.input.as_str());
            let moved = if happening.input.may_end() { Moved::ToItsEnd } else { Moved::On };
            (happening.transfer_id, moved)
        }));
        self.0.waiters.applied();
    }
}

/// What an event tells of a transfer; `None` when it tells of something else.
fn happening(event: &Event) -> Result<Option<Happening>, EffectError> {
    let parsed = if let Some(answer) = read::<CreditReserved>(event)? {
        Some((answer.transfer_id, Input::Reserved))
    } else if let Some(answer) = read::<CreditRefused>(event)? {
        Some((answer.transfer_id, Input::Refused(Reason::of_refusal(&answer.reason))))
    } else if let Some(answer) = read::<CreditPosted>(event)? {
        Some((answer.transfer_id, Input::Posted))
    } else if let Some(answer) = read::<CreditReleased>(event)? {
        Some((answer.transfer_id, Input::Released))
    } else if let Some(answer) = read::<StepImpossible>(event)? {
        let what = format!("{} of a hold that is {}", answer.step, answer.hold_state);
        Some((answer.transfer_id, Input::StepImpossible(what)))
    } else {
        None
    };
    let Some((transfer_id, input)) = parsed else { return Ok(None) };
    let transfer_id = TransferId::from_str(&transfer_id)
        .map_err(|_| EffectError::Halt(format!("event {} names no transfer", event.new.id)))?;
    let answered = &event.new.headers;
    let traceparent = runtime::telemetry::continued(answered.traceparent.as_deref());
    Ok(Some(Happening { transfer_id, input, headers: Headers { traceparent, ..answered.clone() } }))
}

/// Money depends on it: what cannot be read stops the stream, for somebody to look.
fn read<M: Message + Name + Default>(event: &Event) -> Result<Option<M>, EffectError> {
    event.decode::<M>().transpose().map_err(|error| {
        EffectError::Halt(format!("event {} cannot be read as {}: {error}", event.new.id, M::full_name()))
    })
}
