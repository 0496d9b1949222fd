//! The coordinator's commands and what they are answered, and what becomes of holds past their time.

use std::sync::Arc;

use api::order::v1::credit_reserve_requested::Direction as WireDirection;
use api::order::v1::{
    CreditCancelRequested, CreditConfirmRequested, CreditReserveRequested, TransferCompleted,
};
use api::user::v1::{CreditPosted, CreditRefused, CreditReleased, CreditReserved, StepImpossible};
use api::violations::timestamp;
use bson::{Document, doc};
use events::{
    Aggregate, Direction, EffectError, Effects as _, Event, Headers, HoldSpec, HoldState, NewEvent,
    StoreError,
};
use prost::{Message, Name};
use types::{EventId, ManualClock, SystemClock, SystemIds, TransferId, UserId};
use user_service::transfers::TransferEffects;
use uuid::Uuid;

use crate::book::{Book, Numbers, spec};

pub(crate) fn effects() -> TransferEffects {
    TransferEffects::new(Arc::new(SystemClock), Arc::new(SystemIds))
}

pub(crate) fn event<M: Message + Name>(transfer_id: TransferId, payload: &M) -> Event {
    let id = EventId::from_uuid(Uuid::now_v7());
    let headers = Headers {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        request_id: Some(Uuid::from_u128(77)),
        ..Headers::default()
    };
    let aggregate = Aggregate::new("transfer", transfer_id);
    Event {
        stream: "order".to_owned(),
        epoch: Uuid::from_u128(1),
        position: 1,
        previous: None,
        new: NewEvent::new(id, aggregate, 1, payload, headers, time::OffsetDateTime::UNIX_EPOCH),
    }
}

pub(crate) fn reserve(spec: &HoldSpec) -> Event {
    let direction = match spec.direction {
        Direction::Debit => WireDirection::Debit,
        Direction::Credit => WireDirection::Credit,
    };
    let payload = CreditReserveRequested {
        transfer_id: spec.transfer_id.to_string(),
        user_id: spec.owner.to_string(),
        direction: direction.into(),
        amount: Some(spec.amount.into()),
        deadline_time: Some(timestamp(spec.expires_at)),
        order_id: spec.order_id.to_string(),
    };
    event(spec.transfer_id, &payload)
}

pub(crate) fn confirm(id: TransferId) -> Event {
    event(id, &CreditConfirmRequested { transfer_id: id.to_string() })
}

pub(crate) fn cancel(id: TransferId) -> Event {
    event(id, &CreditCancelRequested { transfer_id: id.to_string() })
}

/// An event of the outbox: aggregate, version, type, payload.
pub(crate) struct Answer {
    pub(crate) aggregate: String,
    pub(crate) version: i64,
    pub(crate) kind: String,
    payload: Vec<u8>,
    row: Document,
}

impl Answer {
    pub(crate) fn decode<M: Message + Name + Default>(&self) -> M {
        assert_eq!(self.kind, M::full_name());
        M::decode(self.payload.as_slice()).unwrap()
    }
}

impl Book {
    /// Applies a run as the consumer does, and commits.
    pub(crate) async fn consume(&self, run: &[Event]) -> Result<(), EffectError> {
        let mut tx = self.begin().await;
        match effects().apply(&mut tx, run).await {
            Ok(()) => tx.commit_now().await.map_err(|error| StoreError::from(error).into()),
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }

    /// The events of the outbox, in the order in which they were made.
    pub(crate) async fn answers(&self) -> Vec<Answer> {
        let mut rows = self.rows("outbox").await;
        let id = |row: &Document| match row.get("_id") {
            Some(bson::Bson::Binary(id)) => id.bytes.clone(),
            other => panic!("{other:?} is no event's id"),
        };
        rows.sort_by_key(id);
        rows.into_iter()
            .map(|row| {
                let aggregate = row.get_document("aggregate").unwrap();
                let (kind, id) = (aggregate.get_str("type").unwrap(), aggregate.get_str("id").unwrap());
                Answer {
                    aggregate: format!("{kind} {id}"),
                    version: aggregate.get_i64("version").unwrap(),
                    kind: row.get_str("type").unwrap().to_owned(),
                    payload: row.get_binary_generic("payload").unwrap().clone(),
                    row: row.clone(),
                }
            })
            .collect()
    }
}

#[tokio::test]
async fn each_command_is_answered_once_by_the_next_event_of_its_hold() {
    let book = Book::open().await;
    let ann = book.rich(100).await;
    let pay = spec(ann, Direction::Debit, 60);
    let id = pay.transfer_id;
    // The last of each is sent again by an operator, who is waiting for an answer.
    for command in [reserve(&pay), reserve(&pay), confirm(id), confirm(id), reserve(&pay)] {
        book.consume(&[command]).await.unwrap();
    }
    let answers = book.answers().await;
    assert!(answers.iter().all(|answer| answer.aggregate == format!("hold {id}")));
    assert_eq!(answers.iter().map(|answer| answer.version).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let kinds: Vec<_> = answers.iter().map(|answer| answer.kind.as_str()).collect();
    let [reserved, posted] = ["user.v1.CreditReserved", "user.v1.CreditPosted"];
    assert_eq!(kinds, [reserved, reserved, posted, posted, reserved]);
    assert_eq!(answers[0].decode::<CreditReserved>().transfer_id, id.to_string());
    assert_eq!(answers[2].decode::<CreditPosted>().transfer_id, id.to_string());
    assert_eq!(book.numbers(ann).await, Numbers { balance: 40, held: 0, incoming: 0 });
    book.assert_sound().await;
}

/// Claim: the entries, the hold and the event of a step are of one time, which is told.
#[tokio::test]
async fn a_step_is_made_at_the_time_of_the_injected_clock() {
    let book = Book::open().await;
    let pay = spec(book.rich(5).await, Direction::Debit, 5);
    let at = time::macros::datetime!(2031-02-03 04:05:06.789 UTC);
    let effects = TransferEffects::new(Arc::new(ManualClock::at(at)), Arc::new(SystemIds));
    for command in [reserve(&pay), confirm(pay.transfer_id)] {
        let mut tx = book.store.begin("test").await.unwrap();
        effects.apply(&mut tx, &[command]).await.unwrap();
        tx.commit_now().await.unwrap();
    }
    let at = bson::DateTime::from_time_0_3(at);
    let id = bson::Uuid::from(pay.transfer_id.uuid());
    let by = |field: &str| doc! { field: id };
    for (collection, filter, fields) in [
        ("posting", by("_id"), &["created_at"][..]),
        ("entry", by("_id.posting"), &["created_at"][..]),
        ("hold", by("_id"), &["created_at", "updated_at"][..]),
        ("outbox", doc! { "aggregate.id": pay.transfer_id.to_string() }, &["created_at"][..]),
    ] {
        let row = book.database.collection::<Document>(collection).find_one(filter).await.unwrap().unwrap();
        for field in fields {
            assert_eq!(row.get_datetime(field).unwrap(), &at, "{collection}.{field}");
        }
    }
}

#[tokio::test]
async fn an_answer_goes_on_in_the_trace_of_its_command() {
    let book = Book::open().await;
    let pay = spec(book.rich(1).await, Direction::Debit, 1);
    let command = reserve(&pay);
    book.consume(std::slice::from_ref(&command)).await.unwrap();
    let answers = book.answers().await;
    let headers = answers[0].row.get_document("headers").unwrap();
    assert_eq!(headers.get_str("traceparent").unwrap(), command.new.headers.traceparent.unwrap());
    assert!(headers.contains_key("request_id"));
}

#[tokio::test]
async fn a_refusal_tells_its_reason_and_stays() {
    let book = Book::open().await;
    let ann = book.rich(10).await;
    let pay = spec(ann, Direction::Debit, 11);
    book.consume(&[reserve(&pay)]).await.unwrap();
    book.fund(ann, 100).await;
    book.consume(&[reserve(&pay)]).await.unwrap();
    for answer in book.answers().await {
        let refused: CreditRefused = answer.decode();
        assert_eq!(
            (refused.transfer_id, refused.reason),
            (pay.transfer_id.to_string(), "INSUFFICIENT_CREDIT".into())
        );
    }
    assert_eq!(book.numbers(ann).await, Numbers { balance: 110, held: 0, incoming: 0 });
    book.consume(&[cancel(pay.transfer_id)]).await.unwrap();
    let released: CreditReleased = book.answers().await[2].decode();
    assert_eq!(released.transfer_id, pay.transfer_id.to_string());
}

#[tokio::test]
async fn a_cancel_that_comes_first_leaves_a_tombstone() {
    let book = Book::open().await;
    let ann = book.rich(100).await;
    let pay = spec(ann, Direction::Debit, 60);
    book.consume(&[cancel(pay.transfer_id)]).await.unwrap();
    book.consume(&[reserve(&pay)]).await.unwrap();
    let answers = book.answers().await;
    answers[0].decode::<CreditReleased>();
    assert_eq!(answers[1].decode::<CreditRefused>().reason, "CANCELLED");
    let tombstone = book.hold(pay.transfer_id).await.unwrap();
    assert_eq!((tombstone.state, tombstone.spec), (HoldState::Cancelled, None));
    assert_eq!(book.numbers(ann).await, Numbers { balance: 100, held: 0, incoming: 0 });
}

#[tokio::test]
async fn an_impossible_step_changes_nothing_and_is_reported_by_an_event_of_its_own() {
    let book = Book::open().await;
    let ann = book.rich(100).await;
    let (never, posted, cancelled) =
        (spec(ann, Direction::Debit, 1), spec(ann, Direction::Debit, 2), spec(ann, Direction::Debit, 3));
    book.consume(&[reserve(&posted), confirm(posted.transfer_id)]).await.unwrap();
    book.consume(&[reserve(&cancelled), cancel(cancelled.transfer_id)]).await.unwrap();
    let before = (book.numbers(ann).await, book.rows("hold").await, book.answers().await.len());
    let other = HoldSpec { order_id: never.order_id, ..posted.clone() };
    for (command, step, state) in [
        (confirm(never.transfer_id), "confirm", "none"),
        (cancel(posted.transfer_id), "cancel", "posted"),
        (confirm(cancelled.transfer_id), "confirm", "cancelled"),
        (reserve(&other), "reserve", "posted"),
    ] {
        book.consume(std::slice::from_ref(&command)).await.unwrap();
        let answer = book.answers().await.pop().unwrap();
        assert_eq!(
            (answer.aggregate.as_str(), answer.version),
            (format!("step {}", command.new.id).as_str(), 1)
        );
        let impossible: StepImpossible = answer.decode();
        assert_eq!((impossible.step.as_str(), impossible.hold_state.as_str()), (step, state));
        assert_eq!(impossible.transfer_id, command.new.aggregate.id);
    }
    assert_eq!((book.numbers(ann).await, book.rows("hold").await), (before.0, before.1));
    assert_eq!(book.answers().await.len(), before.2 + 4);
    book.assert_sound().await;
}

#[tokio::test]
async fn a_run_is_applied_in_order_and_whole() {
    let book = Book::open().await;
    let (ann, bob) = (book.rich(100).await, book.rich(0).await);
    let (pay, dropped) = (spec(ann, Direction::Debit, 60), spec(ann, Direction::Debit, 40));
    let (too_much, refund) = (spec(ann, Direction::Debit, 1), spec(bob, Direction::Credit, 5));
    book.consume(&[
        reserve(&pay),
        reserve(&dropped),
        event(pay.transfer_id, &TransferCompleted { transfer_id: pay.transfer_id.to_string() }),
        reserve(&too_much),
        confirm(pay.transfer_id),
        cancel(dropped.transfer_id),
        reserve(&refund),
        confirm(refund.transfer_id),
    ])
    .await
    .unwrap();
    assert_eq!(book.numbers(ann).await, Numbers { balance: 40, held: 0, incoming: 0 });
    assert_eq!(book.numbers(bob).await, Numbers { balance: 5, held: 0, incoming: 0 });
    // One answer to each command, and none to what is no command.
    let kinds: Vec<_> = book.answers().await.into_iter().map(|answer| answer.kind).collect();
    let expected = ["Reserved", "Reserved", "Refused", "Posted", "Released", "Reserved", "Posted"];
    assert_eq!(kinds, expected.map(|kind| format!("user.v1.Credit{kind}")));
    book.assert_sound().await;
}

#[tokio::test]
async fn a_command_that_cannot_be_read_halts_and_nothing_of_its_run_is_applied() {
    let book = Book::open().await;
    let ann = book.rich(100).await;
    let pay = spec(ann, Direction::Debit, 60);
    let mut garbled = confirm(pay.transfer_id);
    garbled.new.payload = vec![0xff].into();
    let outcome = book.consume(&[reserve(&pay), garbled]).await;
    assert!(matches!(outcome, Err(EffectError::Halt(_))), "{outcome:?}");
    assert_eq!(book.hold(pay.transfer_id).await, None);
    assert_eq!(book.numbers(ann).await.held, 0);
    assert!(book.answers().await.is_empty());
}

#[tokio::test]
async fn a_run_that_meets_another_transaction_on_a_wallet_may_be_tried_again() {
    let book = Book::open().await;
    let (ann, bob) = (book.rich(100).await, book.rich(100).await);
    let run = [spec(ann, Direction::Debit, 1), spec(bob, Direction::Debit, 1)].map(|spec| reserve(&spec));
    let theirs = [reserve(&spec(bob, Direction::Debit, 1))];
    let mut open = book.begin().await;
    effects().apply(&mut open, &theirs).await.unwrap();
    let met = book.consume(&run).await;
    assert!(matches!(met, Err(EffectError::Transient(_))), "{met:?}");
    open.commit_now().await.unwrap();
    book.consume(&run).await.unwrap();
    assert_eq!((book.numbers(ann).await.held, book.numbers(bob).await.held), (1, 2));
}

/// All orders in which these can happen.
fn orders<T: Copy + PartialEq>(rest: &[T]) -> Vec<Vec<T>> {
    if rest.is_empty() {
        return vec![Vec::new()];
    }
    let mut all: Vec<Vec<T>> = Vec::new();
    for (at, first) in rest.iter().enumerate() {
        if rest[..at].contains(first) {
            continue;
        }
        let mut others = rest.to_vec();
        others.remove(at);
        all.extend(orders(&others).into_iter().map(|mut order| {
            order.insert(0, *first);
            order
        }));
    }
    all
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Reserve,
    Decide,
}

async fn play(
    book: &Book,
    owner: UserId,
    direction: Direction,
    order: &[Step],
    confirmed: bool,
) -> HoldState {
    let hold = spec(owner, direction, 7);
    for step in order {
        let command = match step {
            Step::Reserve => reserve(&hold),
            Step::Decide if confirmed => confirm(hold.transfer_id),
            Step::Decide => cancel(hold.transfer_id),
        };
        book.consume(&[command]).await.unwrap();
    }
    book.hold(hold.transfer_id).await.unwrap().state
}

/// The decision comes as a command, as the repeat of one, and as the answer to a question about a hold past its
/// time: all of them are the same step of the table.
#[tokio::test]
async fn every_order_of_a_transfers_steps_ends_as_it_was_decided() {
    let book = Book::open().await;
    let steps = [Step::Reserve, Step::Reserve, Step::Decide, Step::Decide, Step::Decide];
    let mut played = 0;
    for direction in [Direction::Debit, Direction::Credit] {
        let paid = if direction == Direction::Debit { -7 } else { 7 };
        for order in orders(&steps) {
            let ann = book.rich(100).await;
            assert_eq!(play(&book, ann, direction, &order, false).await, HoldState::Cancelled, "{order:?}");
            assert_eq!(book.numbers(ann).await, Numbers { balance: 100, held: 0, incoming: 0 }, "{order:?}");
            played += 1;
            // CONFIRM is decided when all have reserved, never before.
            if order[0] == Step::Reserve {
                assert_eq!(play(&book, ann, direction, &order, true).await, HoldState::Posted, "{order:?}");
                let expected = Numbers { balance: 100 + paid, held: 0, incoming: 0 };
                assert_eq!(book.numbers(ann).await, expected, "{order:?}");
                played += 1;
            }
        }
    }
    assert_eq!(played, 2 * (10 + 4), "ten orders, of which four begin with a reserve");
    assert!(book.answers().await.iter().all(|answer| !answer.kind.ends_with("StepImpossible")));
    book.assert_sound().await;
}
