//! What parks an event: what a closed list names, and nothing else that MongoDB can say. Everything is tried where an
//! effect can meet it: at a read, at a write and at the commit, in a transaction and outside of one.

use std::time::Duration;

use api::order::v1::CreditReserveRequested;
use api::order::v1::credit_reserve_requested::Direction as WireDirection;
use api::violations::timestamp;
use bson::{Document, doc};
use events::{ConsumerStore as _, Direction, EffectError, EventLog as _, Mark, NewEvent, StoreError};
use testkit::wait_until;
use types::{Clock as _, FailureRow, Money, SystemClock, Verdict};
use user_service::storage::{FAILURES, STREAM};
use user_service::transfers;
use uuid::Uuid;

use crate::book::{Book, append, eur, spec};
use crate::failures::{WITH_DETAILS, failing};
use crate::faults::{Broken, Private};
use crate::transfers::reserve;

const WITHIN: Duration = Duration::from_secs(30);
/// No code of MongoDB's.
const UNKNOWN: i32 = 6_543_210;

/// The closed list. An event that meets one of them is looked at by an operator; all others are waited out, so that
/// nothing that an operator, an election or a lack of memory brings about parks an event that is about money.
const PARKING: [&str; 15] = [
    "2",
    "9",
    "14",
    "40",
    "66",
    "67",
    "121",
    "257",
    "10334",
    "11000",
    "17280",
    "17419",
    "17420",
    "driver: InvalidArgument",
    "driver: Bson",
];

#[test]
fn the_list_of_what_parks_an_event_is_closed() {
    assert_eq!(FAILURES.parking(), PARKING);
    assert!(!FAILURES.unlisted.parks_events());
    let unlisted = FailureRow { said: "any other", meaning: "", verdict: FAILURES.unlisted };
    for row in FAILURES.rows.iter().chain([&unlisted]) {
        let error = StoreError::from(user_service::Error::from(row.verdict.failure("said")));
        assert_eq!(parks(&EffectError::from(error)), row.verdict.parks_events(), "{}", row.said);
    }
}

/// Whether the consumer's engine parks an event that met this: its own tests show that it parks for nothing else.
fn parks(error: &EffectError) -> bool {
    matches!(error, EffectError::Permanent(_))
}

/// What can be said by a server, with how it is made to say so and what it means.
fn sayings() -> impl Iterator<Item = (&'static str, Document, Verdict)> {
    let unlisted = ("any other", doc! { "errorCode": UNKNOWN }, FAILURES.unlisted);
    FAILURES.rows.iter().filter_map(|row| Some((row.said, failing(row.said)?, row.verdict))).chain([unlisted])
}

/// Claim: whatever MongoDB says to a read, a write or the commit of a transaction, it parks an event only by the list.
#[tokio::test]
async fn in_a_transaction_nothing_but_the_list_parks_an_event() {
    let server = Private::start().await;
    let urls = server.database().await;
    let book = Book::open_on(&urls).await;
    let ann = book.rich(1).await;
    let mut tried = 0;
    for (said, how, verdict) in sayings() {
        for command in ["find", "bulkWrite", "commitTransaction"] {
            is_back(&book).await;
            // The driver asks once more, and so do we after it: then a commit is done.
            server
                .fail(command, if command == "commitTransaction" { 2 } else { 1_000_000 }, how.clone())
                .await;
            let outcome = book.consume(&[reserve(&spec(ann, Direction::Debit, 1))]).await;
            server.mend().await;
            let is_parked = outcome.as_ref().is_err_and(parks);
            assert_eq!(is_parked, verdict.parks_events(), "{said} at {command}: {outcome:?}");
            assert!(outcome.is_err() || command == "commitTransaction", "{said} at {command}");
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried}");
    is_back(&book).await;
    for said in WITH_DETAILS {
        let error = provoked(&book, said).await;
        assert!(parks(&error), "{said}: {error:?}");
    }
    drop(book);
    server.end().await;
}

/// Claim: the same holds outside of transactions, for a read and for a write.
#[tokio::test]
async fn outside_of_transactions_nothing_but_the_list_parks_an_event() {
    let server = Private::start().await;
    let urls = server.database().await;
    let book = Book::open_on(&urls).await;
    for (said, how, verdict) in sayings() {
        for command in ["find", "update"] {
            is_back(&book).await;
            server.fail(command, 1_000_000, how.clone()).await;
            let error = if command == "find" {
                book.store.head(STREAM).await.map(drop).unwrap_err()
            } else {
                let mark = Mark::START;
                book.store.mark_adopt(transfers::CONSUMER, &mark, &mark).await.map(drop).unwrap_err()
            };
            server.mend().await;
            assert_eq!(parks(&error.into()), verdict.parks_events(), "{said} at {command}");
        }
    }
    drop(book);
    server.end().await;
}

/// After some codes the driver takes the server for lost, and looks for it.
async fn is_back(book: &Book) {
    wait_until(WITHIN, "the server", async || book.store.ping().await.map_err(|error| error.to_string()))
        .await
        .unwrap();
}

/// Meets an error that a server gives only with details of what it is about.
async fn provoked(book: &Book, said: &str) -> EffectError {
    let mut event = NewEvent { aggregate_version: 1, ..reserved().new };
    if said == "121" {
        event.aggregate_version = 0;
    }
    let mut tx = book.begin().await;
    let first = append(&mut tx, &event).await;
    let outcome = if said == "121" { first } else { first.and(append(&mut tx, &event).await) };
    tx.rollback().await;
    let error = EffectError::from(outcome.unwrap_err());
    let text = format!("{error:?}");
    assert!(text.contains(said), "{text}");
    error
}

fn reserved() -> events::Event {
    let nobody = types::UserId::from_uuid(Uuid::now_v7());
    reserve(&spec(nobody, Direction::Debit, 1))
}

/// Claim: an event about money that meets what nobody has named, or what operators, elections and lack of memory bring
/// about, waits and is applied; and one that meets what the list names is parked.
#[tokio::test]
async fn a_money_event_waits_for_whatever_is_not_on_the_list() {
    let broken = Broken::start().await;
    let ann = broken.harness.customer().await;
    let mut answered = 0;
    for code in [UNKNOWN, 11_601, 388, 433, 449, 13, 18, 365, 43, 175, 263, 72] {
        for command in ["bulkWrite", "commitTransaction"] {
            broken.fail(command, 1, doc! { "errorCode": code }).await;
            broken.harness.orders.tell(&reserve_for(&ann.id));
            answered += 1;
            wait_until(WITHIN, "the answer", async || {
                match (parked(&broken).await, broken.harness.events("user.v1.CreditRefused").await) {
                    (0, count) if count == answered => Ok(()),
                    told => Err(format!("{code} at {command}: {told:?} parked and answered")),
                }
            })
            .await
            .unwrap();
            broken.mend().await;
        }
    }
    broken.fail("bulkWrite", 1, doc! { "errorCode": 2 }).await;
    broken.harness.orders.tell(&reserve_for(&ann.id));
    wait_until(WITHIN, "the event to be parked", async || match parked(&broken).await {
        1 => Ok(()),
        count => Err(format!("{count} are parked")),
    })
    .await
    .unwrap();
    broken.end().await;
}

async fn parked(broken: &Broken) -> u64 {
    broken.harness.count("parked_event", doc! {}).await
}

/// What is refused for lack of credit, and answered so.
pub(crate) fn reserve_for(user_id: &str) -> CreditReserveRequested {
    CreditReserveRequested {
        transfer_id: Uuid::now_v7().to_string(),
        user_id: user_id.to_owned(),
        direction: WireDirection::Debit.into(),
        amount: Some(Money::new(eur(), 5).into()),
        deadline_time: Some(timestamp(SystemClock.now() + Duration::from_secs(600))),
        order_id: Uuid::now_v7().to_string(),
    }
}
