//! The participant's table of the transfer protocol, cell by cell, on a real database.

use std::future::Future;

use futures_util::future::join_all;
use types::{Currency, Money, TransferId, UserId};

use crate::pace::Backoff;
use crate::participant::{
    Applied, Direction, Hold, HoldSpec, HoldState, Outcome, ParticipantTx, Refusal, Step, apply,
};
use crate::store::StoreError;

/// A wallet's or an account's two numbers, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// What is in the book: credits minus debits.
    pub ledger: i64,
    /// What can be spent: the ledger without what holds have set aside for debits.
    pub available: i64,
}

/// A service's participant on a fresh database. Up to 50 transactions are begun at once; a harness with fewer
/// connections lets `begin` wait.
pub trait ParticipantHarness: Send + Sync + 'static {
    /// A transaction that the table's steps are applied through.
    type Tx: ParticipantTx;

    /// Begins a transaction; several are open at once.
    fn begin(&self) -> impl Future<Output = Result<Self::Tx, StoreError>> + Send;

    /// Commits.
    fn commit(&self, tx: Self::Tx) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Rolls back.
    fn rollback(&self, tx: Self::Tx) -> impl Future<Output = ()> + Send;

    /// Makes an owner whose wallet or account holds this amount, by entries that balance.
    fn open(&self, funds: Money) -> impl Future<Output = UserId> + Send;

    /// Makes a new transfer of an owner, with the rows that a hold must refer to, if any.
    fn transfer(
        &self,
        owner: UserId,
        direction: Direction,
        amount: Money,
    ) -> impl Future<Output = HoldSpec> + Send;

    /// The committed balance of the owner's wallet or account; `currency` as in the amount of `open`.
    fn balance(&self, owner: UserId) -> impl Future<Output = Balance> + Send;

    /// The hold as committed.
    fn hold(&self, transfer_id: TransferId) -> impl Future<Output = Option<Hold>> + Send;

    /// All debits minus all credits of the whole book, system accounts included: 0, always.
    fn book_imbalance(&self) -> impl Future<Output = i64> + Send;
}

/// Makes a test of each scenario of this suite; takes an `async fn() -> impl ParticipantHarness`.
#[macro_export]
macro_rules! participant_suite {
    ($start:expr) => {
        $crate::conformance_tests!(
            participant,
            $start,
            every_cell_of_the_table_does_what_it_says,
            a_reserve_that_comes_after_its_cancel_holds_nothing,
            a_reserve_is_refused_when_too_little_is_there,
            another_content_under_the_same_transfer_is_impossible,
            a_step_that_rolls_back_leaves_nothing,
            fifty_callers_of_one_transfer_make_one_hold,
            concurrent_duplicates_of_a_decision_act_once,
            concurrent_holds_never_overdraw,
            every_interleaving_conserves_the_balance,
        );
    };
}

const FUNDS: i64 = 1000;
const AMOUNT: i64 = 300;
const DIRECTIONS: [Direction; 2] = [Direction::Debit, Direction::Credit];

fn money(minor_units: i64) -> Money {
    let currency: Currency = "EUR".parse().expect("a currency");
    Money::new(currency, minor_units)
}

/// One step in a transaction of its own, tried again as long as it conflicts with another.
async fn step<H: ParticipantHarness>(harness: &H, step: &Step) -> Applied {
    let pause = std::time::Duration::from_millis(2);
    let mut backoff = Backoff::new(pause, pause * 100);
    loop {
        let tried = async {
            let mut tx = harness.begin().await?;
            match apply(&mut tx, step).await {
                Ok(applied) => harness.commit(tx).await.map(|()| applied),
                Err(error) => {
                    harness.rollback(tx).await;
                    Err(error)
                }
            }
        };
        match tried.await {
            Ok(applied) => return applied,
            Err(StoreError::Transient(_)) => backoff.pause().await,
            Err(error) => panic!("{step:?}: {}", types::chain(&error)),
        }
    }
}

/// The owner's balance when one hold is in this state.
fn balance_in(state: Option<HoldState>, direction: Direction) -> Balance {
    let (ledger, available) = match (state, direction) {
        (None | Some(HoldState::Cancelled), _) | (Some(HoldState::Held), Direction::Credit) => (FUNDS, FUNDS),
        (Some(HoldState::Held), Direction::Debit) => (FUNDS, FUNDS - AMOUNT),
        (Some(HoldState::Posted), Direction::Debit) => (FUNDS - AMOUNT, FUNDS - AMOUNT),
        (Some(HoldState::Posted), Direction::Credit) => (FUNDS + AMOUNT, FUNDS + AMOUNT),
    };
    Balance { ledger, available }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Reserve,
    Confirm,
    Cancel,
}

impl Call {
    fn of(self, spec: &HoldSpec) -> Step {
        match self {
            Self::Reserve => Step::Reserve(spec.clone()),
            Self::Confirm => Step::Confirm(spec.transfer_id),
            Self::Cancel => Step::Cancel(spec.transfer_id),
        }
    }
}

/// The table, written a second time: the answer and the state after it.
fn table(state: Option<HoldState>, call: Call) -> (Outcome, Option<HoldState>) {
    use HoldState::{Cancelled, Held, Posted};
    match (call, state) {
        (Call::Reserve, None) => (Outcome::Reserved, Some(Held)),
        (Call::Reserve, Some(Held | Posted)) => (Outcome::Reserved, state),
        (Call::Reserve, Some(Cancelled)) => (Outcome::Refused(Refusal::Cancelled), state),
        (Call::Confirm, Some(Held | Posted)) => (Outcome::Posted, Some(Posted)),
        (Call::Confirm, None | Some(Cancelled)) => (Outcome::Impossible(state), state),
        (Call::Cancel, None | Some(Held | Cancelled)) => (Outcome::Released, Some(Cancelled)),
        (Call::Cancel, Some(Posted)) => (Outcome::Impossible(state), state),
    }
}

/// Makes these calls one after the other on a transfer of its own and compares each with the table.
async fn walk<H: ParticipantHarness>(harness: &H, direction: Direction, calls: &[Call]) {
    let owner = harness.open(money(FUNDS)).await;
    let spec = harness.transfer(owner, direction, money(AMOUNT)).await;
    let (mut state, mut version) = (None, 0);
    for (at, call) in calls.iter().enumerate() {
        let case = format!("{direction:?}, {:?}, then {call:?}", &calls[..at]);
        let applied = step(harness, &call.of(&spec)).await;
        let (outcome, after) = table(state, *call);
        assert_eq!(applied.outcome, outcome, "{case}");
        assert_eq!(applied.changed, after != state, "{case}: whether it changed anything");
        version += i64::from(after != state);
        let hold = harness.hold(spec.transfer_id).await;
        assert_eq!(applied.hold, hold, "{case}: the answer has the hold as it was committed");
        assert_eq!(hold.as_ref().map(|hold| hold.state), after, "{case}");
        assert_eq!(hold.map_or(0, |hold| hold.version), version, "{case}: each change is counted");
        assert_eq!(harness.balance(owner).await, balance_in(after, direction), "{case}");
        state = after;
    }
    assert_eq!(harness.book_imbalance().await, 0, "{direction:?}, {calls:?}: the book balances");
}

/// Twelve cells, both directions; and each call repeated, for the answers of duplicates.
pub async fn every_cell_of_the_table_does_what_it_says<H: ParticipantHarness>(harness: H) {
    use Call::{Cancel, Confirm, Reserve};
    let ways: [&[Call]; 5] = [&[], &[Reserve], &[Reserve, Confirm], &[Reserve, Cancel], &[Cancel]];
    for direction in DIRECTIONS {
        for way in ways {
            for call in [Reserve, Confirm, Cancel] {
                let mut calls = way.to_vec();
                calls.extend([call, call]);
                walk(&harness, direction, &calls).await;
            }
        }
    }
}

/// A cancel that found no hold leaves a tombstone: a reserve that comes later must not set anything aside, because
/// nobody would release it.
pub async fn a_reserve_that_comes_after_its_cancel_holds_nothing<H: ParticipantHarness>(harness: H) {
    for direction in DIRECTIONS {
        let owner = harness.open(money(FUNDS)).await;
        let spec = harness.transfer(owner, direction, money(AMOUNT)).await;
        assert_eq!(step(&harness, &Step::Cancel(spec.transfer_id)).await.outcome, Outcome::Released);
        let late = step(&harness, &Step::Reserve(spec)).await;
        assert_eq!(
            harness.balance(owner).await,
            balance_in(None, direction),
            "{direction:?}: what comes after its cancel holds nothing"
        );
        assert_eq!((late.outcome, late.changed), (Outcome::Refused(Refusal::Cancelled), false));
    }
}

/// A refusal is final and is remembered with its reason; it holds nothing.
pub async fn a_reserve_is_refused_when_too_little_is_there<H: ParticipantHarness>(harness: H) {
    let owner = harness.open(money(FUNDS)).await;
    let spec = harness.transfer(owner, Direction::Debit, money(FUNDS + 1)).await;
    let refused = Outcome::Refused(Refusal::InsufficientCredit);
    let first = step(&harness, &Step::Reserve(spec.clone())).await;
    assert_eq!((first.outcome, first.changed), (refused, true));
    let hold = harness.hold(spec.transfer_id).await.expect("the refusal is kept");
    assert_eq!((hold.state, hold.refusal), (HoldState::Cancelled, Some(Refusal::InsufficientCredit)));
    let again = step(&harness, &Step::Reserve(spec.clone())).await;
    assert_eq!((again.outcome, again.changed), (refused, false));
    let confirm = step(&harness, &Step::Confirm(spec.transfer_id)).await;
    assert_eq!(confirm.outcome, Outcome::Impossible(Some(HoldState::Cancelled)));
    let cancel = step(&harness, &Step::Cancel(spec.transfer_id)).await;
    assert_eq!((cancel.outcome, cancel.changed), (Outcome::Released, false));
    assert_eq!(harness.balance(owner).await, Balance { ledger: FUNDS, available: FUNDS });
    // Exactly the whole balance is not too much.
    let all = harness.transfer(owner, Direction::Debit, money(FUNDS)).await;
    assert_eq!(step(&harness, &Step::Reserve(all)).await.outcome, Outcome::Reserved);
    assert_eq!(harness.balance(owner).await, Balance { ledger: FUNDS, available: 0 });
}

/// The id of a transfer cannot be used for another amount, owner or direction.
pub async fn another_content_under_the_same_transfer_is_impossible<H: ParticipantHarness>(harness: H) {
    let owner = harness.open(money(FUNDS)).await;
    let spec = harness.transfer(owner, Direction::Debit, money(AMOUNT)).await;
    let other = HoldSpec { amount: money(AMOUNT + 1), ..spec.clone() };
    step(&harness, &Step::Reserve(spec.clone())).await;
    for state in [HoldState::Held, HoldState::Posted] {
        let applied = step(&harness, &Step::Reserve(other.clone())).await;
        assert_eq!((applied.outcome, applied.changed), (Outcome::Impossible(Some(state)), false));
        step(&harness, &Step::Confirm(spec.transfer_id)).await;
    }
    assert_eq!(harness.balance(owner).await, balance_in(Some(HoldState::Posted), Direction::Debit));
}

/// Hold, balance and entries are written in one transaction.
pub async fn a_step_that_rolls_back_leaves_nothing<H: ParticipantHarness>(harness: H) {
    for direction in DIRECTIONS {
        let owner = harness.open(money(FUNDS)).await;
        let spec = harness.transfer(owner, direction, money(AMOUNT)).await;
        let mut state = None;
        for call in [Call::Reserve, Call::Confirm] {
            let mut tx = harness.begin().await.expect("begins");
            apply(&mut tx, &call.of(&spec)).await.expect("applies");
            harness.rollback(tx).await;
            assert_eq!(harness.hold(spec.transfer_id).await.map(|hold| hold.state), state);
            assert_eq!(harness.balance(owner).await, balance_in(state, direction));
            step(&harness, &call.of(&spec)).await;
            state = table(state, call).1;
        }
    }
    assert_eq!(harness.book_imbalance().await, 0);
}

/// Duplicates of a reserve at the same time make one hold and get one answer.
pub async fn fifty_callers_of_one_transfer_make_one_hold<H: ParticipantHarness>(harness: H) {
    for direction in DIRECTIONS {
        let owner = harness.open(money(FUNDS)).await;
        let spec = harness.transfer(owner, direction, money(AMOUNT)).await;
        let reserve = Step::Reserve(spec.clone());
        let answers = join_all((0..50).map(|_| step(&harness, &reserve))).await;
        assert!(answers.iter().all(|applied| applied.outcome == Outcome::Reserved));
        assert_eq!(answers.iter().filter(|applied| applied.changed).count(), 1, "one of them held it");
        assert_eq!(harness.balance(owner).await, balance_in(Some(HoldState::Held), direction));
        assert_eq!(harness.hold(spec.transfer_id).await.map(|hold| hold.version), Some(1));
    }
}

/// A confirm, or a cancel before or beside a reserve, by twenty callers at once.
pub async fn concurrent_duplicates_of_a_decision_act_once<H: ParticipantHarness>(harness: H) {
    for direction in DIRECTIONS {
        let owner = harness.open(money(FUNDS)).await;
        let spec = harness.transfer(owner, direction, money(AMOUNT)).await;
        step(&harness, &Step::Reserve(spec.clone())).await;
        let confirm = Step::Confirm(spec.transfer_id);
        let answers = join_all((0..20).map(|_| step(&harness, &confirm))).await;
        assert!(answers.iter().all(|applied| applied.outcome == Outcome::Posted));
        assert_eq!(answers.iter().filter(|applied| applied.changed).count(), 1);
        assert_eq!(harness.balance(owner).await, balance_in(Some(HoldState::Posted), direction));

        let owner = harness.open(money(FUNDS)).await;
        let spec = harness.transfer(owner, direction, money(AMOUNT)).await;
        let steps = [Step::Reserve(spec.clone()), Step::Cancel(spec.transfer_id)];
        let answers = join_all((0..20).map(|caller| step(&harness, &steps[caller % 2]))).await;
        for (caller, applied) in answers.iter().enumerate() {
            let possible = match applied.outcome {
                Outcome::Released => caller % 2 == 1,
                Outcome::Reserved | Outcome::Refused(Refusal::Cancelled) => caller % 2 == 0,
                Outcome::Refused(_) | Outcome::Posted | Outcome::Impossible(_) => false,
            };
            assert!(possible, "{:?} is no answer to {:?}", applied.outcome, steps[caller % 2]);
        }
        assert_eq!(harness.balance(owner).await, balance_in(Some(HoldState::Cancelled), direction));
        let hold = harness.hold(spec.transfer_id).await.expect("there is one");
        assert_eq!(hold.state, HoldState::Cancelled, "nothing hangs");
    }
    assert_eq!(harness.book_imbalance().await, 0);
}

/// Twenty transfers at once from an owner who can afford seven.
pub async fn concurrent_holds_never_overdraw<H: ParticipantHarness>(harness: H) {
    let owner = harness.open(money(AMOUNT * 7 + 1)).await;
    let mut specs = Vec::new();
    for _ in 0..20 {
        specs.push(harness.transfer(owner, Direction::Debit, money(AMOUNT)).await);
    }
    let answers = join_all(specs.iter().map(async |spec| {
        let reserve = Step::Reserve(spec.clone());
        step(&harness, &reserve).await.outcome
    }))
    .await;
    let reserved = answers.iter().filter(|outcome| **outcome == Outcome::Reserved).count();
    let refused =
        answers.iter().filter(|outcome| **outcome == Outcome::Refused(Refusal::InsufficientCredit)).count();
    assert_eq!((reserved, refused), (7, 13));
    assert_eq!(harness.balance(owner).await, Balance { ledger: AMOUNT * 7 + 1, available: 1 });
}

/// All 90 orders of two reserves, two confirms and two cancels, in both directions. An expiry is one of the
/// two, by the coordinator's answer.
pub async fn every_interleaving_conserves_the_balance<H: ParticipantHarness>(harness: H) {
    use Call::{Cancel, Confirm, Reserve};
    let mut calls = vec![Reserve, Reserve, Confirm, Confirm, Cancel, Cancel];
    let mut count = 0;
    loop {
        count += 1;
        for direction in DIRECTIONS {
            walk(&harness, direction, &calls).await;
        }
        if !next_permutation(&mut calls) {
            break;
        }
    }
    assert_eq!(count, 90);
}

/// The next order of the same elements; `false` after the last.
fn next_permutation(calls: &mut [Call]) -> bool {
    let Some(falls) = calls.windows(2).rposition(|pair| pair[0] < pair[1]) else { return false };
    let above = calls.iter().rposition(|call| *call > calls[falls]).expect("the next one is above it");
    calls.swap(falls, above);
    calls[falls + 1..].reverse();
    true
}
