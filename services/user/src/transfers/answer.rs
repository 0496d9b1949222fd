//! The answers to the coordinator's steps: an event of the hold, or one of the step alone when the table has no such
//! step and the hold must not be touched.

use api::user::v1::{CreditPosted, CreditRefused, CreditReleased, CreditReserved, StepImpossible};
use bytes::Bytes;
use events::participant::{Applied, Outcome, Step};
use events::{Aggregate, Headers, HoldState, NewEvent};
use fault::Flaw;
use prost::{Message, Name};
use time::OffsetDateTime;
use types::{EventId, TransferId};

use crate::error::Result;
use crate::storage::{Participant, Tx};

/// An answer to a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// The hold stands.
    Reserved(TransferId),
    /// Refused for good.
    Refused(TransferId, &'static str),
    /// In the book.
    Posted(TransferId),
    /// Nothing is held.
    Released(TransferId),
    /// The table has no such step.
    Impossible {
        /// The transfer.
        transfer_id: TransferId,
        /// What was asked for.
        step: &'static str,
        /// What the hold was.
        hold_state: &'static str,
    },
}

impl Answer {
    /// The answer to what a step did.
    pub(super) fn to(step: &Step, applied: &Applied) -> Self {
        let transfer_id = step.transfer_id();
        match applied.outcome {
            Outcome::Reserved => Self::Reserved(transfer_id),
            Outcome::Refused(refusal) => Self::Refused(transfer_id, refusal.as_str()),
            Outcome::Posted => Self::Posted(transfer_id),
            Outcome::Released => Self::Released(transfer_id),
            Outcome::Impossible(state) => {
                Self::Impossible { transfer_id, step: step.as_str(), hold_state: state_name(state) }
            }
        }
    }

    /// The answer's event. `cause` names the step when the event cannot be the hold's.
    pub(super) fn event(
        &self,
        participant: &mut Participant<&mut Tx>,
        cause: EventId,
        headers: Headers,
        id: EventId,
        now: OffsetDateTime,
    ) -> Result<NewEvent> {
        let (aggregate, aggregate_version) = match self {
            Self::Impossible { .. } => (Aggregate::new("step", cause), 1),
            // No tombstone, no hold to be an event of.
            Self::Released(_) if Flaw::NoTombstone.is_in() => (Aggregate::new("step", cause), 1),
            Self::Reserved(id) | Self::Refused(id, _) | Self::Posted(id) | Self::Released(id) => {
                (Aggregate::new("hold", id), participant.hold_count_event(*id)?)
            }
        };
        let (event_type, payload) = self.message();
        Ok(NewEvent {
            id,
            aggregate,
            aggregate_version,
            event_type,
            schema_version: 1,
            payload,
            headers,
            created_at: now,
        })
    }

    /// The event's type and content.
    fn message(&self) -> (String, Bytes) {
        fn encode<M: Message + Name>(message: &M) -> (String, Bytes) {
            (M::full_name(), message.encode_to_vec().into())
        }
        match self {
            Self::Reserved(id) => encode(&CreditReserved { transfer_id: id.to_string() }),
            Self::Refused(id, reason) => {
                encode(&CreditRefused { transfer_id: id.to_string(), reason: (*reason).to_owned() })
            }
            Self::Posted(id) => encode(&CreditPosted { transfer_id: id.to_string() }),
            Self::Released(id) => encode(&CreditReleased { transfer_id: id.to_string() }),
            Self::Impossible { transfer_id, step, hold_state } => encode(&StepImpossible {
                transfer_id: transfer_id.to_string(),
                step: (*step).to_owned(),
                hold_state: (*hold_state).to_owned(),
            }),
        }
    }
}

const fn state_name(state: Option<HoldState>) -> &'static str {
    match state {
        None => "none",
        Some(HoldState::Held) => "held",
        Some(HoldState::Posted) => "posted",
        Some(HoldState::Cancelled) => "cancelled",
    }
}
