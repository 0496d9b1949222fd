//! This service's part in moving credit to and from order service: reserve, then post or release, as the
//! coordinator there decides.
//!
//! Commands arrive as events of the stream `order`; each is applied by the participant's table
//! (`events::participant`) and answered by an event of ours, all in the transaction that moves the consumer's
//! mark. [`expiry`] asks for the decision when none has come in time; nothing here ever decides.

mod answer;
mod command;
pub mod expiry;

use std::fmt;
use std::sync::Arc;

use events::participant::Step;
use events::{ConsumerId, EffectError, Effects, Event, Headers, NewEvent, StoreError};
use time::OffsetDateTime;
use types::{Clock, EventId, IdSource};

use crate::storage::{Participant, Tx};
use answer::Answer;
use command::Command;

/// The consumer that these effects are of. What it applies, and what [`expiry`] applies, exclude each other by
/// its mark.
pub const CONSUMER: ConsumerId = ConsumerId { name: "user.transfers", stream: "order" };

/// Applies the coordinator's commands.
#[derive(Clone)]
pub struct TransferEffects {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl fmt::Debug for TransferEffects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransferEffects")
    }
}

impl TransferEffects {
    /// Effects whose answers get their ids and times from here.
    pub fn new(clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { clock, ids }
    }

    /// Applies one command, and returns the event that answers it. Every command gets an answer, a duplicate too:
    /// an operator who has a step sent again is waiting for one.
    async fn apply_one(
        &self,
        participant: &mut Participant<&mut Tx>,
        command: &Command<'_>,
        now: OffsetDateTime,
    ) -> Result<NewEvent, StoreError> {
        let applied = events::participant::apply(participant, &command.step).await?;
        let answer = Answer::to(&command.step, &applied);
        if matches!(answer, Answer::Impossible { .. }) {
            tracing::error!(
                transfer.id = %command.step.transfer_id(),
                step = command.step.as_str(),
                hold = ?applied.hold.map(|hold| hold.state),
                "a step of a transfer is impossible; an operator must look"
            );
        }
        let (cause, asked) = (command.event.new.id, &command.event.new.headers);
        let traceparent = runtime::telemetry::continued(asked.traceparent.as_deref());
        let headers = Headers { traceparent, ..asked.clone() };
        Ok(answer.event(participant, cause, headers, EventId::from_uuid(self.ids.next()), now)?)
    }
}

impl Effects<Tx> for TransferEffects {
    async fn apply(&self, tx: &mut Tx, run: &[Event]) -> Result<(), EffectError> {
        let commands: Vec<Command<'_>> =
            run.iter().filter_map(|event| Command::decode(event).transpose()).collect::<Result<_, _>>()?;
        if commands.is_empty() {
            return Ok(());
        }
        let steps: Vec<&Step> = commands.iter().map(|command| &command.step).collect();
        let now = self.clock.now();
        let mut participant = Participant::read(&mut *tx, &steps, now).await?;
        let mut answers = Vec::with_capacity(commands.len());
        for command in &commands {
            answers.push(self.apply_one(&mut participant, command, now).await?);
        }
        participant.write()?;
        for answer in &answers {
            tx.event_append(answer)?;
        }
        tx.flush().await?;
        for step in steps {
            fault::point!("hold.changing", step.as_str());
        }
        Ok(())
    }

    fn concerns(&self, event: &Event) -> bool {
        !matches!(Command::decode(event), Ok(None))
    }

    fn committed(&self, run: &[Event]) {
        if fault::BUILT_IN {
            for command in run.iter().filter_map(|event| Command::decode(event).ok().flatten()) {
                fault::point!("hold.changed", command.step.as_str());
            }
        }
    }
}
