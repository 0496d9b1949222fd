//! The coordinator's commands, as they come out of order service's events.

use api::order::v1::credit_reserve_requested::Direction as WireDirection;
use api::order::v1::{CreditCancelRequested, CreditConfirmRequested, CreditReserveRequested};
use api::violations::{Violations, time};
use events::{Direction, EffectError, Event, HoldSpec, Step};
use prost::{Message, Name};
use types::TransferId;

/// A step that was asked for, and the event that asks.
#[derive(Debug)]
pub(super) struct Command<'a> {
    pub(super) step: Step,
    pub(super) event: &'a Event,
}

impl<'a> Command<'a> {
    /// Reads an event; `None` when it is no command. One that cannot be read halts the stream: to leave out a
    /// step of a transfer, and go on with the next, could lose or make money.
    pub(super) fn decode(event: &'a Event) -> Result<Option<Self>, EffectError> {
        let step = if let Some(message) = message::<CreditReserveRequested>(event)? {
            spec(&message).map(Step::Reserve)
        } else if let Some(message) = message::<CreditConfirmRequested>(event)? {
            transfer_id(&message.transfer_id).map(Step::Confirm)
        } else if let Some(message) = message::<CreditCancelRequested>(event)? {
            transfer_id(&message.transfer_id).map(Step::Cancel)
        } else {
            return Ok(None);
        };
        match step {
            Some(step) => Ok(Some(Self { step, event })),
            None => Err(unreadable(event)),
        }
    }
}

fn message<M: Message + Name + Default>(event: &Event) -> Result<Option<M>, EffectError> {
    event.decode().transpose().map_err(|_| unreadable(event))
}

fn unreadable(event: &Event) -> EffectError {
    EffectError::Halt(format!(
        "{} {} at position {} cannot be read",
        event.new.event_type, event.new.id, event.position
    ))
}

fn transfer_id(text: &str) -> Option<TransferId> {
    text.parse().ok()
}

fn spec(message: &CreditReserveRequested) -> Option<HoldSpec> {
    Some(HoldSpec {
        transfer_id: transfer_id(&message.transfer_id)?,
        owner: message.user_id.parse().ok()?,
        direction: match message.direction() {
            WireDirection::Unspecified => return None,
            WireDirection::Debit => Direction::Debit,
            WireDirection::Credit => Direction::Credit,
        },
        amount: Violations::new().amount("amount", message.amount.as_ref())?,
        expires_at: message.deadline_time.as_ref().and_then(time)?,
        order_id: message.order_id.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use api::common;
    use events::{Aggregate, Headers, NewEvent};
    use types::EventId;
    use uuid::Uuid;

    use super::*;

    const ID: &str = "01920000-0000-7000-8000-000000000001";

    fn event<M: Message + Name>(payload: &M) -> Event {
        let id = EventId::from_uuid(Uuid::from_u128(1));
        let at = ::time::OffsetDateTime::UNIX_EPOCH;
        let aggregate = Aggregate::new("transfer", ID);
        Event {
            stream: "order".to_owned(),
            epoch: Uuid::from_u128(2),
            position: 7,
            previous: None,
            new: NewEvent::new(id, aggregate, 1, payload, Headers::default(), at),
        }
    }

    fn reserve() -> CreditReserveRequested {
        CreditReserveRequested {
            transfer_id: ID.to_owned(),
            user_id: ID.to_owned(),
            direction: WireDirection::Debit.into(),
            amount: Some(common::v1::Money { currency_code: "EUR".to_owned(), minor_units: 5 }),
            deadline_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 123_456_789 }),
            order_id: ID.to_owned(),
        }
    }

    #[test]
    fn commands_are_read_whole() {
        let event = event(&reserve());
        let command = Command::decode(&event).unwrap().unwrap();
        let Step::Reserve(spec) = command.step else { panic!("{:?}", command.step) };
        assert_eq!(spec.amount.to_string(), "0.05 EUR");
        assert_eq!(spec.direction, Direction::Debit);
        assert_eq!(spec.expires_at.unix_timestamp_nanos(), 1_800_000_000_123_456_789);
    }

    #[test]
    fn events_of_other_types_are_no_commands() {
        let other = event(&api::order::v1::TransferCompleted { transfer_id: ID.to_owned() });
        assert!(Command::decode(&other).unwrap().is_none());
    }

    #[test]
    fn a_command_that_cannot_be_read_halts_the_stream() {
        type Break = fn(&mut CreditReserveRequested);
        let breaks: [Break; 9] = [
            |message| message.transfer_id.clear(),
            |message| message.user_id = "ann".to_owned(),
            |message| message.direction = 0,
            |message| message.direction = 3,
            |message| message.amount = None,
            |message| message.amount.as_mut().unwrap().minor_units = 0,
            |message| message.amount.as_mut().unwrap().currency_code = "eur".to_owned(),
            |message| message.deadline_time = None,
            |message| message.order_id.clear(),
        ];
        for (number, break_it) in breaks.into_iter().enumerate() {
            let mut message = reserve();
            break_it(&mut message);
            let outcome = Command::decode(&event(&message)).map(|_| ());
            assert!(matches!(outcome, Err(EffectError::Halt(_))), "break {number}: {outcome:?}");
        }
        for mut garbled in [
            event(&reserve()),
            event(&CreditConfirmRequested { transfer_id: ID.to_owned() }),
            event(&CreditCancelRequested { transfer_id: ID.to_owned() }),
        ] {
            garbled.new.payload = vec![0xff, 0xff].into();
            let Err(EffectError::Halt(reason)) = Command::decode(&garbled).map(|_| ()) else {
                panic!("{} was read", garbled.new.event_type)
            };
            assert!(reason.contains("position 7"), "{reason}");
        }
        let empty = event(&CreditConfirmRequested::default());
        assert!(matches!(Command::decode(&empty), Err(EffectError::Halt(_))));
    }
}
