//! This side's holds: locked, then written. What a step does to one is the participant's table, which
//! `transfers::own_side` applies to locked rows.

use std::collections::BTreeSet;

use events::{Direction, Hold, HoldSpec, HoldState, Refusal};
use sqlx::FromRow;
use time::OffsetDateTime;
use types::{Money, TransferId};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::storage::Tx;
use crate::storage::driver::violated;
use crate::storage::statement::statements;

macro_rules! columns {
    () => {
        "transfer_id, owner_id, direction, amount, currency, order_id, expires_at, state, refusal, version"
    };
}

statements! {
    HOLDS_LOCK =
        concat!(
            "SELECT ",
            columns!(),
            " FROM holds WHERE transfer_id = ANY($1) ORDER BY transfer_id FOR UPDATE"
        );

    HOLDS_UPDATE =
        "UPDATE holds SET state = new.state, version = new.version, updated_at = clock_timestamp()
         FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS new (transfer_id, state, version)
         WHERE holds.transfer_id = new.transfer_id";

    HOLD_INSERT =
        concat!(
            "INSERT INTO holds (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        );
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

impl Tx {
    /// Locks holds, in the order of their ids.
    pub(crate) async fn holds_lock(&mut self, transfers: &BTreeSet<TransferId>) -> Result<Vec<Hold>> {
        let query = sqlx::query(HOLDS_LOCK).bind(transfers.iter().map(|id| id.uuid()).collect::<Vec<_>>());
        let rows: Vec<Row> = self.rows(query).await?;
        rows.into_iter().map(Hold::try_from).collect()
    }

    /// Writes the state and version of holds that this transaction has locked.
    pub(crate) async fn holds_update(&mut self, holds: &[&Hold]) -> Result<()> {
        let query = sqlx::query(HOLDS_UPDATE)
            .bind(holds.iter().map(|hold| hold.transfer_id.uuid()).collect::<Vec<_>>())
            .bind(holds.iter().map(|hold| state_name(hold.state)).collect::<Vec<_>>())
            .bind(holds.iter().map(|hold| hold.version).collect::<Vec<_>>());
        let changed = self.execute(query).await?;
        if changed == holds.len() as u64 { Ok(()) } else { Err(Error::internal("a locked hold is gone")) }
    }

    /// Inserts a new hold.
    pub(crate) async fn hold_insert(&mut self, hold: &Hold) -> Result<()> {
        let spec = hold.spec.as_ref();
        let query = sqlx::query(HOLD_INSERT)
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
            Err(error) if violated(&error) == Some("holds_pkey") => Err(Error::contention(error)),
            result => result.map(drop),
        }
    }
}
