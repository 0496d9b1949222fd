//! The wallets' owner, as order service hears of it: commands are read from the outbox, answers come as events of
//! stream `user` through the consumer's effects, in its transactions. Its own table is the protocol's.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use api::order::v1::credit_reserve_requested::Direction as WireDirection;
use api::order::v1::{CreditCancelRequested, CreditConfirmRequested, CreditReserveRequested};
use api::user::v1::{CreditPosted, CreditRefused, CreditReleased, CreditReserved, StepImpossible};
use api::violations::time;
use events::participant::{self, Applied};
use events::{
    Aggregate, Direction, EffectError, Effects, Event, Headers, Hold, HoldSpec, HoldState, NewEvent, Outcome,
    ParticipantTx, Refusal, Step, StoreError,
};
use order_service::storage::{Store, Use};
use prost::{Message as _, Name};
use sqlx::PgConnection;
use tokio::sync::{Mutex, MutexGuard};
use types::{Money, TransferId, UserId};
use uuid::Uuid;

use crate::harness::Harness;

/// What the wallets' owner says of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Reserved,
    Refused(&'static str),
    Posted,
    Released,
    Impossible,
}

/// Answers that a test gives by hand.
pub(crate) struct Teller {
    store: Store,
    sql: Mutex<PgConnection>,
}

impl Teller {
    pub(crate) async fn of(harness: &Harness) -> Self {
        let store = harness.service.store(Use::Workers, 0);
        Self { store, sql: Mutex::new(harness.sql().await) }
    }

    /// A connection for looking, kept: making one takes longer than most of what is looked at.
    pub(crate) async fn sql(&self) -> MutexGuard<'_, PgConnection> {
        self.sql.lock().await
    }

    /// Applies one run, as the consumer does: in one transaction, again when it was only in somebody's way.
    pub(crate) async fn tell(&self, harness: &Harness, run: &[(TransferId, Answer)]) {
        let events: Vec<_> = run.iter().map(|(id, answer)| event(*id, *answer)).collect();
        for _ in 0..20 {
            match self.try_tell(harness, &events).await {
                Ok(()) => return,
                Err(EffectError::Transient(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("somebody was in the way 20 times");
    }

    pub(crate) async fn try_tell(&self, harness: &Harness, events: &[Event]) -> Result<(), EffectError> {
        let effects = harness.service.answers(self.store.clone());
        let mut tx = self.store.begin().await.unwrap();
        effects.apply(&mut tx, events).await?;
        tx.commit_now().await?;
        effects.committed(events);
        Ok(())
    }
}

/// An answer as it comes out of stream `user`.
pub(crate) fn event(id: TransferId, answer: Answer) -> Event {
    let transfer_id = id.to_string();
    match answer {
        Answer::Reserved => carry(id, &CreditReserved { transfer_id }),
        Answer::Refused(reason) => carry(id, &CreditRefused { transfer_id, reason: reason.to_owned() }),
        Answer::Posted => carry(id, &CreditPosted { transfer_id }),
        Answer::Released => carry(id, &CreditReleased { transfer_id }),
        Answer::Impossible => carry(
            id,
            &StepImpossible { transfer_id, step: "confirm".to_owned(), hold_state: "none".to_owned() },
        ),
    }
}

fn carry(id: TransferId, payload: &impl Name) -> Event {
    let traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let headers = Headers { traceparent, ..Headers::default() };
    let at = time::OffsetDateTime::UNIX_EPOCH;
    Event {
        stream: "user".to_owned(),
        epoch: Uuid::nil(),
        position: 1,
        previous: None,
        new: NewEvent::new(Uuid::now_v7().into(), Aggregate::new("hold", id), 1, payload, headers, at),
    }
}

/// Wallets that answer by themselves.
#[derive(Default)]
pub(crate) struct Wallets {
    balances: HashMap<UserId, i64>,
    available: HashMap<UserId, i64>,
    holds: HashMap<TransferId, Hold>,
    done: HashSet<Uuid>,
}

impl Wallets {
    pub(crate) fn with(funds: &[(&str, i64)]) -> Self {
        let funds: HashMap<UserId, i64> =
            funds.iter().map(|(id, amount)| (id.parse().unwrap(), *amount)).collect();
        Self { balances: funds.clone(), available: funds, ..Self::default() }
    }

    pub(crate) fn balance(&self, owner: &str) -> i64 {
        self.balances.get(&owner.parse().unwrap()).copied().unwrap_or_default()
    }

    pub(crate) fn held(&self) -> usize {
        self.holds.values().filter(|hold| hold.state == HoldState::Held).count()
    }

    /// Answers commands as long as `until` runs.
    pub(crate) async fn serve<T>(&mut self, harness: &Harness, until: impl Future<Output = T>) -> T {
        let until = Box::pin(until);
        tokio::select! {
            result = until => result,
            () = self.answer_for_ever(harness) => unreachable!("it never ends"),
        }
    }

    async fn answer_for_ever(&mut self, harness: &Harness) {
        let teller = Teller::of(harness).await;
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        loop {
            poll.tick().await;
            self.answer_all(harness, &teller).await;
        }
    }

    /// Answers every command that is there, until there is none; tells how many there were.
    pub(crate) async fn answer_all(&mut self, harness: &Harness, teller: &Teller) -> usize {
        let mut count = 0;
        loop {
            let query = "SELECT event_id, type, payload FROM outbox
                         WHERE aggregate_type = 'transfer' AND type LIKE 'order.v1.Credit%' AND event_id <> ALL($1)
                         ORDER BY id";
            let rows: Vec<(Uuid, String, Vec<u8>)> = sqlx::query_as(query)
                .bind(self.done.iter().copied().collect::<Vec<_>>())
                .fetch_all(&mut *teller.sql().await)
                .await
                .unwrap();
            if rows.is_empty() {
                return count;
            }
            count += rows.len();
            let mut run = Vec::new();
            for (event_id, event_type, payload) in rows {
                self.done.insert(event_id);
                let step = step_of(&event_type, &payload);
                let Applied { outcome, .. } = participant::apply(self, &step).await.unwrap();
                let answer = match outcome {
                    Outcome::Reserved => Answer::Reserved,
                    Outcome::Refused(refusal) => Answer::Refused(refusal.as_str()),
                    Outcome::Posted => Answer::Posted,
                    Outcome::Released => Answer::Released,
                    Outcome::Impossible(state) => panic!("{step:?} on {state:?}"),
                };
                run.push((step.transfer_id(), answer));
            }
            teller.tell(harness, &run).await;
        }
    }
}

fn step_of(event_type: &str, payload: &[u8]) -> Step {
    match event_type {
        "order.v1.CreditReserveRequested" => {
            let wish = CreditReserveRequested::decode(payload).unwrap();
            let amount = wish.amount.as_ref().unwrap();
            Step::Reserve(HoldSpec {
                transfer_id: wish.transfer_id.parse().unwrap(),
                owner: wish.user_id.parse().unwrap(),
                direction: match wish.direction() {
                    WireDirection::Debit => Direction::Debit,
                    WireDirection::Credit => Direction::Credit,
                    WireDirection::Unspecified => panic!("no direction"),
                },
                amount: Money::new(amount.currency_code.parse().unwrap(), amount.minor_units),
                expires_at: time(&wish.deadline_time.unwrap()).unwrap(),
                order_id: wish.order_id.parse().unwrap(),
            })
        }
        "order.v1.CreditConfirmRequested" => {
            Step::Confirm(CreditConfirmRequested::decode(payload).unwrap().transfer_id.parse().unwrap())
        }
        "order.v1.CreditCancelRequested" => {
            Step::Cancel(CreditCancelRequested::decode(payload).unwrap().transfer_id.parse().unwrap())
        }
        other => panic!("{other} is no command"),
    }
}

impl ParticipantTx for Wallets {
    async fn hold_fetch(&mut self, transfer_id: TransferId) -> Result<Option<Hold>, StoreError> {
        Ok(self.holds.get(&transfer_id).cloned())
    }

    async fn hold_insert(&mut self, hold: &Hold) -> Result<(), StoreError> {
        assert!(self.holds.insert(hold.transfer_id, hold.clone()).is_none());
        Ok(())
    }

    async fn hold_update(&mut self, hold: &Hold) -> Result<(), StoreError> {
        self.holds.insert(hold.transfer_id, hold.clone());
        Ok(())
    }

    async fn balance_reserve(&mut self, spec: &HoldSpec) -> Result<Result<(), Refusal>, StoreError> {
        let available = self.available.entry(spec.owner).or_default();
        match spec.direction {
            Direction::Debit if *available < spec.amount.minor_units => Ok(Err(Refusal::InsufficientCredit)),
            Direction::Debit => {
                *available -= spec.amount.minor_units;
                Ok(Ok(()))
            }
            Direction::Credit => Ok(Ok(())),
        }
    }

    async fn balance_release(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
        if spec.direction == Direction::Debit {
            *self.available.entry(spec.owner).or_default() += spec.amount.minor_units;
        }
        Ok(())
    }

    async fn balance_post(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
        match spec.direction {
            Direction::Debit => *self.balances.entry(spec.owner).or_default() -= spec.amount.minor_units,
            Direction::Credit => {
                *self.balances.entry(spec.owner).or_default() += spec.amount.minor_units;
                *self.available.entry(spec.owner).or_default() += spec.amount.minor_units;
            }
        }
        Ok(())
    }
}
