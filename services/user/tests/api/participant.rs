//! The participant's table on MongoDB: the suite that PostgreSQL passes too, and what only a wallet has.

use events::conformance::participant::{Balance, ParticipantHarness};
use events::{Direction, Hold, HoldSpec, HoldState, Outcome, Refusal, Step, StoreError};
use types::{BALANCE_MAX, Money, TransferId, UserId};
use user_service::storage::{Participant, Tx};

use crate::book::{Book, Numbers, commit_steps, spec};

pub(crate) struct Harness(Book);

impl Harness {
    pub(crate) async fn start() -> Self {
        Self(Book::open().await)
    }
}

impl ParticipantHarness for Harness {
    type Tx = Participant<Tx>;

    async fn begin(&self) -> Result<Participant<Tx>, StoreError> {
        Ok(self.0.begin_steps().await)
    }

    async fn commit(&self, steps: Participant<Tx>) -> Result<(), StoreError> {
        commit_steps(steps).await
    }

    async fn rollback(&self, steps: Participant<Tx>) {
        steps.into_tx().rollback().await;
    }

    async fn open(&self, funds: Money) -> UserId {
        self.0.rich(funds.minor_units).await
    }

    async fn transfer(&self, owner: UserId, direction: Direction, amount: Money) -> HoldSpec {
        HoldSpec { amount, ..spec(owner, direction, amount.minor_units) }
    }

    async fn balance(&self, owner: UserId) -> Balance {
        let Numbers { balance, held, .. } = self.0.numbers(owner).await;
        Balance { ledger: balance, available: balance - held }
    }

    async fn hold(&self, transfer_id: TransferId) -> Option<Hold> {
        self.0.hold(transfer_id).await
    }

    async fn book_imbalance(&self) -> i64 {
        self.0.imbalance().await
    }
}

events::participant_suite!(Harness::start);

async fn outcome(book: &Book, step: Step) -> Outcome {
    book.apply(&step).await.unwrap().outcome
}

#[tokio::test]
async fn a_reserve_that_is_repeated_finds_its_own_content_to_the_nanosecond() {
    let book = Book::open().await;
    let ann = book.rich(100).await;
    let reserve = spec(ann, Direction::Debit, 60);
    for changed in [true, false] {
        let applied = book.apply(&Step::Reserve(reserve.clone())).await.unwrap();
        assert_eq!((applied.outcome, applied.changed), (Outcome::Reserved, changed));
        assert_eq!(applied.hold.unwrap().spec, Some(reserve.clone()));
    }
    let other = HoldSpec { expires_at: reserve.expires_at + time::Duration::nanoseconds(1), ..reserve };
    assert_eq!(outcome(&book, Step::Reserve(other)).await, Outcome::Impossible(Some(HoldState::Held)));
    assert_eq!(book.numbers(ann).await, Numbers { balance: 100, held: 60, incoming: 0 });
}

#[tokio::test]
async fn who_does_not_exist_or_is_deactivated_cannot_spend() {
    let book = Book::open().await;
    let nobody = spec(UserId::from_uuid(uuid::Uuid::now_v7()), Direction::Debit, 1);
    assert_eq!(outcome(&book, Step::Reserve(nobody.clone())).await, Outcome::Refused(Refusal::UserNotFound));
    // Refused for good: it stays so, and a cancel finds nothing to undo.
    assert_eq!(outcome(&book, Step::Reserve(nobody.clone())).await, Outcome::Refused(Refusal::UserNotFound));
    assert_eq!(outcome(&book, Step::Cancel(nobody.transfer_id)).await, Outcome::Released);

    let gone = book.rich(100).await;
    let before = spec(gone, Direction::Debit, 30);
    assert_eq!(outcome(&book, Step::Reserve(before.clone())).await, Outcome::Reserved);
    book.deactivate(gone).await;
    let after = spec(gone, Direction::Debit, 30);
    assert_eq!(outcome(&book, Step::Reserve(after)).await, Outcome::Refused(Refusal::UserDeactivated));
    // What was reserved before is the coordinator's to decide.
    assert_eq!(outcome(&book, Step::Confirm(before.transfer_id)).await, Outcome::Posted);
    assert_eq!(book.numbers(gone).await, Numbers { balance: 70, held: 0, incoming: 0 });
    book.assert_sound().await;
}

#[tokio::test]
async fn a_refund_reaches_the_wallet_of_a_deactivated_user_and_makes_it_if_need_be() {
    let book = Book::open().await;
    let gone = book.user("deactivated").await;
    let refund = spec(gone, Direction::Credit, 40);
    assert_eq!(outcome(&book, Step::Reserve(refund.clone())).await, Outcome::Reserved);
    // On its way: it cannot be spent and is no part of the balance.
    assert_eq!(book.numbers(gone).await, Numbers { balance: 0, held: 0, incoming: 40 });
    assert_eq!(outcome(&book, Step::Confirm(refund.transfer_id)).await, Outcome::Posted);
    assert_eq!(book.numbers(gone).await, Numbers { balance: 40, held: 0, incoming: 0 });
    let nobody = spec(UserId::from_uuid(uuid::Uuid::now_v7()), Direction::Credit, 1);
    assert_eq!(outcome(&book, Step::Reserve(nobody)).await, Outcome::Refused(Refusal::UserNotFound));
    book.assert_sound().await;
}

#[tokio::test]
async fn credit_on_its_way_counts_against_the_limit() {
    let book = Book::open().await;
    let ann = book.user("active").await;
    let all =
        HoldSpec { amount: Money::new(crate::book::eur(), BALANCE_MAX), ..spec(ann, Direction::Credit, 1) };
    assert_eq!(outcome(&book, Step::Reserve(all.clone())).await, Outcome::Reserved);
    let more = spec(ann, Direction::Credit, 1);
    assert_eq!(outcome(&book, Step::Reserve(more)).await, Outcome::Refused(Refusal::BalanceLimit));
    // Released, the room is there again.
    assert_eq!(outcome(&book, Step::Cancel(all.transfer_id)).await, Outcome::Released);
    let again = spec(ann, Direction::Credit, 1);
    assert_eq!(outcome(&book, Step::Reserve(again)).await, Outcome::Reserved);
    assert_eq!(book.numbers(ann).await, Numbers { balance: 0, held: 0, incoming: 1 });
}

#[tokio::test]
async fn of_two_inserts_of_one_hold_one_conflicts() {
    let book = Book::open().await;
    let ann = book.rich(100).await;
    let reserve = spec(ann, Direction::Debit, 10);
    let (mut one, mut two) = (book.begin_steps().await, book.begin_steps().await);
    // The wallet is not what they meet on: a cancel of a transfer that is not there touches none.
    let cancel = Step::Cancel(reserve.transfer_id);
    for (tx, step, expected) in
        [(&mut one, &Step::Reserve(reserve), Outcome::Reserved), (&mut two, &cancel, Outcome::Released)]
    {
        assert_eq!(events::participant::apply(tx, step).await.unwrap().outcome, expected);
    }
    commit_steps(one).await.unwrap();
    let met = commit_steps(two).await;
    assert!(matches!(met, Err(StoreError::Transient(_))), "{met:?}");
    // The next try sees the hold.
    assert_eq!(outcome(&book, cancel).await, Outcome::Released);
    assert_eq!(book.numbers(ann).await, Numbers { balance: 100, held: 0, incoming: 0 });
}

/// The validators are the last line: a defect of ours must not get a wrong number past them.
#[tokio::test]
async fn the_database_itself_refuses_a_wallet_that_cannot_be() {
    use bson::{Document, doc};
    let book = Book::open().await;
    let ann = book.rich(100).await;
    let id = doc! { "_id": { "owner": bson::Uuid::from(ann.uuid()), "currency": "EUR" } };
    let wallets = book.database.collection::<Document>("wallet");
    for broken in [
        doc! { "$inc": { "balance": -101_i64, "available": -101_i64, "reach": -101_i64 } },
        doc! { "$inc": { "available": 1_i64 } },
        doc! { "$inc": { "held": 101_i64, "available": -101_i64 } },
        doc! { "$inc": { "incoming": -1_i64, "reach": -1_i64 } },
        doc! { "$inc": { "incoming": BALANCE_MAX, "reach": BALANCE_MAX } },
        doc! { "$set": { "balance": 100.0, "available": 100.0, "reach": 100.0 } },
    ] {
        let error = wallets.update_one(id.clone(), broken.clone()).await.unwrap_err();
        assert!(error.to_string().contains("failed validation"), "{broken}: {error}");
    }
    assert_eq!(book.numbers(ann).await, Numbers { balance: 100, held: 0, incoming: 0 });
}
