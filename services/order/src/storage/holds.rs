//! This side's holds, and the participant's table on a transaction of its own statements. Where many transfers
//! are decided at once, `transfers::work` applies the same table to rows that it has locked.

use std::collections::BTreeSet;

use events::{Direction, Hold, HoldSpec, HoldState, ParticipantTx, Refusal, StoreError};
use sqlx::FromRow;
use time::OffsetDateTime;
use types::{Money, TransferId};
use uuid::Uuid;

use super::{Store, Tx, violated};
use crate::domain::account::{Account, AccountKey, Posting};
use crate::domain::transfer::Kind;
use crate::error::{Error, Result};

macro_rules! columns {
    () => {
        "transfer_id, owner_id, direction, amount, currency, order_id, expires_at, state, refusal, version"
    };
}

#[derive(Debug, FromRow)]
pub(super) struct Row {
    transfer_id: Uuid,
    owner_id: Option<Uuid>,
    direction: Option<String>,
    amount: Option<i64>,
    currency: Option<String>,
    order_id: Option<Uuid>,
    expires_at: Option<OffsetDateTime>,
    state: String,
    refusal: Option<String>,
    version: i64,
}

impl TryFrom<Row> for Hold {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unknown = |what: &str| Error::internal(format!("hold {} has an unknown {what}", row.transfer_id));
        let spec =
            match (row.owner_id, &row.direction, row.amount, &row.currency, row.order_id, row.expires_at) {
                (
                    Some(owner),
                    Some(direction),
                    Some(amount),
                    Some(currency),
                    Some(order_id),
                    Some(expires_at),
                ) => Some(HoldSpec {
                    transfer_id: row.transfer_id.into(),
                    owner: owner.into(),
                    direction: direction_of(direction).ok_or_else(|| unknown("direction"))?,
                    amount: Money::new(currency.parse().map_err(Error::internal)?, amount),
                    expires_at,
                    order_id: order_id.into(),
                }),
                _ => None,
            };
        Ok(Self {
            transfer_id: row.transfer_id.into(),
            spec,
            state: state_of(&row.state).ok_or_else(|| unknown("state"))?,
            refusal: row
                .refusal
                .as_deref()
                .map(|name| Refusal::from_name(name).ok_or_else(|| unknown("refusal")))
                .transpose()?,
            version: row.version,
        })
    }
}

const fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Debit => "debit",
        Direction::Credit => "credit",
    }
}

fn direction_of(name: &str) -> Option<Direction> {
    [Direction::Debit, Direction::Credit].into_iter().find(|each| direction_name(*each) == name)
}

const fn state_name(state: HoldState) -> &'static str {
    match state {
        HoldState::Held => "held",
        HoldState::Posted => "posted",
        HoldState::Cancelled => "cancelled",
    }
}

fn state_of(name: &str) -> Option<HoldState> {
    [HoldState::Held, HoldState::Posted, HoldState::Cancelled]
        .into_iter()
        .find(|each| state_name(*each) == name)
}

/// What posting a hold enters into the book.
pub(crate) const fn posting_of(spec: &HoldSpec, at: OffsetDateTime) -> Posting {
    let kind = match spec.direction {
        Direction::Debit => Kind::Refund,
        Direction::Credit => Kind::Pay,
    };
    Posting { transfer_id: spec.transfer_id, order_id: spec.order_id, kind, at }
}

impl Store {
    /// A hold as committed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn hold_fetch(&self, transfer_id: TransferId) -> Result<Option<Hold>> {
        let query = sqlx::query(concat!("SELECT ", columns!(), " FROM holds WHERE transfer_id = $1"))
            .bind(transfer_id.uuid());
        let row: Option<Row> = self.read().await?.row(query).await?;
        row.map(Hold::try_from).transpose()
    }
}

impl Tx {
    /// Locks holds, in the order of their ids.
    pub(crate) async fn holds_lock(&mut self, transfers: &BTreeSet<TransferId>) -> Result<Vec<Hold>> {
        let query = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM holds WHERE transfer_id = ANY($1) ORDER BY transfer_id FOR UPDATE"
        ))
        .bind(transfers.iter().map(|id| id.uuid()).collect::<Vec<_>>());
        let rows: Vec<Row> = self.rows(query).await?;
        rows.into_iter().map(Hold::try_from).collect()
    }

    /// Writes the state and version of holds that this transaction has locked.
    pub(crate) async fn holds_update(&mut self, holds: &[&Hold]) -> Result<()> {
        let query = sqlx::query(
            "UPDATE holds SET state = new.state, version = new.version, updated_at = clock_timestamp()
             FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS new (transfer_id, state, version)
             WHERE holds.transfer_id = new.transfer_id",
        )
        .bind(holds.iter().map(|hold| hold.transfer_id.uuid()).collect::<Vec<_>>())
        .bind(holds.iter().map(|hold| state_name(hold.state)).collect::<Vec<_>>())
        .bind(holds.iter().map(|hold| hold.version).collect::<Vec<_>>());
        let changed = self.execute(query).await?;
        if changed == holds.len() as u64 { Ok(()) } else { Err(Error::internal("a locked hold is gone")) }
    }

    async fn insert(&mut self, hold: &Hold) -> Result<()> {
        let spec = hold.spec.as_ref();
        let query = sqlx::query(concat!(
            "INSERT INTO holds (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        ))
        .bind(hold.transfer_id.uuid())
        .bind(spec.map(|spec| spec.owner.uuid()))
        .bind(spec.map(|spec| direction_name(spec.direction)))
        .bind(spec.map(|spec| spec.amount.minor_units))
        .bind(spec.map(|spec| spec.amount.currency.code().to_owned()))
        .bind(spec.map(|spec| spec.order_id.uuid()))
        .bind(spec.map(|spec| spec.expires_at))
        .bind(state_name(hold.state))
        .bind(hold.refusal.map(Refusal::as_str))
        .bind(hold.version);
        match self.execute(query).await {
            // Another transaction has inserted it since it was looked for: look again.
            Err(error) if violated(&error) == Some("holds_pkey") => Err(Error::Conflict(error.into())),
            result => result.map(drop),
        }
    }

    /// Moves `amount` between what is free and what is set aside, if the account's bounds allow it.
    async fn set_aside(&mut self, key: AccountKey, direction: Direction, amount: i64) -> Result<bool> {
        let query = match direction {
            Direction::Debit => {
                "UPDATE accounts SET held = held + $3
                 WHERE owner_id = $1 AND currency = $2 AND balance - held >= $3"
            }
            Direction::Credit => {
                "UPDATE accounts SET incoming = incoming + $3
                 WHERE owner_id = $1 AND currency = $2 AND balance + incoming + $3 <= $4"
            }
        };
        let mut query = sqlx::query(query).bind(key.owner_id.uuid()).bind(key.currency.code()).bind(amount);
        if direction == Direction::Credit {
            query = query.bind(types::BALANCE_MAX);
        }
        Ok(self.execute(query).await? == 1)
    }

    async fn account_lock(&mut self, key: AccountKey) -> Result<(Account, OffsetDateTime)> {
        let account = self.accounts_lock(&BTreeSet::from([key])).await?.pop();
        let now: Option<(OffsetDateTime,)> = self.row(sqlx::query("SELECT clock_timestamp()")).await?;
        account
            .zip(now)
            .map(|(account, (now,))| (account, now))
            .ok_or_else(|| Error::internal("an account that was just made is gone"))
    }
}

impl ParticipantTx for Tx {
    async fn hold_fetch(&mut self, transfer_id: TransferId) -> Result<Option<Hold>, StoreError> {
        Ok(self.holds_lock(&BTreeSet::from([transfer_id])).await?.pop())
    }

    async fn hold_insert(&mut self, hold: &Hold) -> Result<(), StoreError> {
        Ok(self.insert(hold).await?)
    }

    async fn hold_update(&mut self, hold: &Hold) -> Result<(), StoreError> {
        Ok(self.holds_update(&[hold]).await?)
    }

    async fn balance_reserve(&mut self, spec: &HoldSpec) -> Result<Result<(), Refusal>, StoreError> {
        let key = AccountKey::of(spec.owner, spec.amount);
        let refusal = match spec.direction {
            Direction::Debit => Refusal::InsufficientCredit,
            Direction::Credit => {
                self.account_ensure(key).await?;
                Refusal::BalanceLimit
            }
        };
        let reserved = self.set_aside(key, spec.direction, spec.amount.minor_units).await?;
        Ok(if reserved { Ok(()) } else { Err(refusal) })
    }

    async fn balance_release(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
        let key = AccountKey::of(spec.owner, spec.amount);
        let (mut account, _) = self.account_lock(key).await?;
        account.release(spec.direction, spec.amount.minor_units);
        Ok(self.accounts_update(&[&account]).await?)
    }

    async fn balance_post(&mut self, spec: &HoldSpec) -> Result<(), StoreError> {
        let key = AccountKey::of(spec.owner, spec.amount);
        let (mut account, now) = self.account_lock(key).await?;
        let entry = account.post(spec.direction, spec.amount.minor_units, posting_of(spec, now));
        self.accounts_update(&[&account]).await?;
        Ok(self.entries_insert(&[entry]).await?)
    }
}
