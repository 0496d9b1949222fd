//! `order.transfers`: the wallet's owner answers, in stream `user`. What each answer does to its transfer is the
//! coordinator's business.

use std::str::FromStr as _;

use api::user::v1::{CreditPosted, CreditRefused, CreditReleased, CreditReserved, StepImpossible};
use events::{ConsumerId, EffectError, Effects, Event, Headers};
use prost::{Message, Name};
use types::TransferId;

use crate::domain::transfer::{Input, Reason};
use crate::storage::Tx;
use crate::transfers::{Coordinator, TransferInput};

/// This consumer.
pub(crate) const TRANSFERS: ConsumerId = ConsumerId { name: "order.transfers", stream: "user" };

/// The effects of the answers on transfers.
pub(crate) struct Transfers(Coordinator);

impl Transfers {
    /// Effects through a coordinator.
    pub(crate) const fn new(coordinator: Coordinator) -> Self {
        Self(coordinator)
    }
}

impl Effects<Tx> for Transfers {
    async fn apply(&self, tx: &mut Tx, run: &[Event]) -> Result<(), EffectError> {
        let answers: Vec<TransferInput> =
            run.iter().filter_map(|event| answer(event).transpose()).collect::<Result<_, _>>()?;
        if answers.is_empty() {
            return Ok(());
        }
        Ok(self.0.apply_answers(tx, &answers).await?)
    }

    fn concerns(&self, event: &Event) -> bool {
        !matches!(answer(event), Ok(None))
    }

    fn committed(&self, run: &[Event]) {
        self.0.answers_committed(run.iter().filter_map(|event| answer(event).ok().flatten()));
    }
}

/// What an event tells of a transfer; `None` when it tells of something else.
fn answer(event: &Event) -> Result<Option<TransferInput>, EffectError> {
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
    Ok(Some(TransferInput { transfer_id, input, headers: Headers { traceparent, ..answered.clone() } }))
}

/// Money depends on it: what cannot be read stops the stream, for somebody to look.
fn read<M: Message + Name + Default>(event: &Event) -> Result<Option<M>, EffectError> {
    event.decode::<M>().transpose().map_err(|error| {
        EffectError::Halt(format!("event {} cannot be read as {}: {error}", event.new.id, M::full_name()))
    })
}
