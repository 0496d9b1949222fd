//! The coordinator's rows: one a transfer, found by its id or by the request that started it.

pub(super) mod history;
pub(super) mod leases;
pub(super) mod start;

use std::collections::BTreeSet;

use events::Mark;
use sqlx::FromRow;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use time::OffsetDateTime;
use types::{EventId, Fingerprint, Money, RequestKey, TransferId};
use uuid::Uuid;

use crate::domain::transfer::{Kind, Reason, State, Transfer};
use crate::domain::{OrderNow, OrderState};
use crate::error::{Error, Result};
use crate::storage::statement::statements;
use crate::storage::{STREAM, Store, Tx};

pub(crate) use history::HistoryStep;
pub(crate) use leases::{Ages, Claim, Look};

macro_rules! columns {
    () => {
        "id, principal, kind, order_id, wallet_user_id, account_owner_id, amount, \
         currency, state, reason, deadline, decided_at, created_at, updated_at, next_attempt_at, attempts, \
         last_error, needs_operator, event_version, version, order_customer_id, order_version, order_refunded, \
         order_updated_at"
    };
}
use columns;

statements! {
    TRANSFER_FETCH = concat!("SELECT ", columns!(), " FROM transfers WHERE id = $1");

    TRANSFERS_LOCK =
        concat!(
            "WITH locked AS MATERIALIZED (SELECT * FROM transfers WHERE id = ANY($1) ORDER BY id FOR UPDATE)
             SELECT ",
            columns!(),
            ", clock_timestamp() AS seen_at FROM locked"
        );

    TRANSFERS_WRITE =
        "UPDATE transfers
         SET state = new.state, decision = new.decision, reason = new.reason, decided_at = new.decided_at,
             updated_at = new.updated_at, next_attempt_at = new.next_attempt_at, attempts = new.attempts,
             last_error = new.last_error, needs_operator = new.needs_operator,
             event_version = new.event_version, version = new.version,
             order_customer_id = new.order_customer_id, order_version = new.order_version,
             order_refunded = new.order_refunded, order_updated_at = new.order_updated_at,
             lease_owner = NULL, lease_until = NULL
         FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                     $7::timestamptz[], $8::timestamptz[], $9::integer[], $10::text[], $11::boolean[],
                     $12::bigint[], $13::bigint[], $14::uuid[], $15::bigint[], $16::bigint[], $17::timestamptz[])
              AS new (id, read_version, state, decision, reason, decided_at, updated_at, next_attempt_at,
                      attempts, last_error, needs_operator, event_version, version, order_customer_id,
                      order_version, order_refunded, order_updated_at)
         WHERE transfers.id = new.id AND transfers.version = new.read_version
           AND (transfers.decision IS NULL OR transfers.decision = new.decision)";

    STREAM_EPOCH =
        "SELECT epoch FROM outbox_lease
         WHERE stream = $1 AND system_identifier IN ('', $2) AND timeline IN ('', $3)
           AND ($5::uuid IS NULL
                OR EXISTS (SELECT FROM outbox WHERE stream = $1 AND position = $4 AND event_id = $5))";

    TRANSFER_AUDIT =
        "INSERT INTO transfer_audit (id, principal, method, request_id, transfer_id, state_before, state_after,
                                     traceparent)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
}

/// A row of the table.
#[derive(Debug, FromRow)]
pub(super) struct Row {
    pub(super) id: Uuid,
    principal: String,
    kind: String,
    order_id: Uuid,
    wallet_user_id: Uuid,
    account_owner_id: Uuid,
    amount: i64,
    currency: String,
    state: String,
    reason: Option<String>,
    deadline: OffsetDateTime,
    decided_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    next_attempt_at: Option<OffsetDateTime>,
    attempts: i32,
    last_error: String,
    needs_operator: bool,
    event_version: i64,
    version: i64,
    order_customer_id: Option<Uuid>,
    order_version: Option<i64>,
    order_refunded: Option<i64>,
    order_updated_at: Option<OffsetDateTime>,
}

/// A row with the time at which it was locked.
#[derive(Debug, FromRow)]
struct LockedRow {
    #[sqlx(flatten)]
    row: Row,
    seen_at: OffsetDateTime,
}

impl TryFrom<Row> for Transfer {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unknown = |what: &str| Error::internal(format!("transfer {} has an unknown {what}", row.id));
        let kind = Kind::from_name(&row.kind).ok_or_else(|| unknown("kind"))?;
        let order_then =
            match (row.order_customer_id, row.order_version, row.order_refunded, row.order_updated_at) {
                (Some(customer_id), Some(version), Some(refunded_minor_units), Some(updated_at)) => {
                    Some(OrderNow {
                        customer_id: customer_id.into(),
                        state: OrderState::Paid,
                        refunded_minor_units,
                        version,
                        updated_at,
                    })
                }
                _ => None,
            };
        Ok(Self {
            id: row.id.into(),
            principal: row.principal,
            kind,
            order_id: row.order_id.into(),
            wallet_user_id: row.wallet_user_id.into(),
            account_owner_id: row.account_owner_id.into(),
            amount: Money::new(row.currency.parse().map_err(Error::internal)?, row.amount),
            state: State::from_name(&row.state)
                .ok_or_else(|| Error::internal(format!("transfer {} has an unknown state", row.id)))?,
            reason: row
                .reason
                .map(|name| {
                    Reason::from_name(&name)
                        .ok_or_else(|| Error::internal(format!("transfer {} has an unknown reason", row.id)))
                })
                .transpose()?,
            deadline: row.deadline,
            decided_at: row.decided_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            needs_operator: row.needs_operator,
            last_error: row.last_error,
            next_attempt_at: row.next_attempt_at,
            attempts: row.attempts,
            event_version: row.event_version,
            version: row.version,
            order_then,
        })
    }
}

fn by_request(key: &RequestKey) -> Query<'_, Postgres, PgArguments> {
    let query =
        "SELECT id, fingerprint FROM transfers WHERE request_id = $1 AND principal = $2 AND method = $3";
    sqlx::query(query).bind(key.request_id).bind(&key.principal).bind(key.method)
}

/// A transfer's id, and what the request said that started it.
pub(super) fn first((id, fingerprint): (Uuid, Vec<u8>)) -> Result<(TransferId, Fingerprint)> {
    let fingerprint = Fingerprint::from_bytes(fingerprint)
        .ok_or_else(|| Error::internal(format!("the fingerprint of transfer {id} cannot be read")))?;
    Ok((id.into(), fingerprint))
}

impl Store {
    /// A transfer as committed.
    pub(crate) async fn transfer_fetch(&self, id: TransferId) -> Result<Option<Transfer>> {
        let query = sqlx::query(TRANSFER_FETCH).bind(id.uuid());
        let row: Option<Row> = self.read().await?.row(query).await?;
        row.map(Transfer::try_from).transpose()
    }

    /// The transfer that a request started, and what that request said.
    pub(crate) async fn transfer_by_request(
        &self,
        key: &RequestKey,
    ) -> Result<Option<(TransferId, Fingerprint)>> {
        self.read().await?.row(by_request(key)).await?.map(first).transpose()
    }
}

impl Tx {
    /// As [`Store::transfer_by_request`]; look after the order's lock, so that the first of several calls
    /// with one id is seen by the others.
    pub(crate) async fn transfer_by_request(
        &mut self,
        key: &RequestKey,
    ) -> Result<Option<(TransferId, Fingerprint)>> {
        self.row(by_request(key)).await?.map(first).transpose()
    }

    /// Locks transfers, in the order of their ids; tells the database's time once all are locked.
    pub(crate) async fn transfers_lock(
        &mut self,
        ids: &BTreeSet<TransferId>,
    ) -> Result<(Vec<Transfer>, OffsetDateTime)> {
        // The clock is read outside of the part that locks, row by row: never before the row's lock.
        let query = sqlx::query(TRANSFERS_LOCK).bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>());
        let rows: Vec<LockedRow> = self.rows(query).await?;
        let now = rows.iter().map(|row| row.seen_at).max().unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let transfers = rows.into_iter().map(|row| row.row.try_into()).collect::<Result<Vec<_>>>()?;
        Ok((transfers, now))
    }

    /// Writes transfers that this transaction has locked, each with the version that it was read with: a
    /// compare-and-set, which notices when a lock was forgotten. A transfer that has moved loses its worker's claim.
    pub(crate) async fn transfers_update(&mut self, transfers: &[(&Transfer, i64)]) -> Result<()> {
        fn each<T>(transfers: &[(&Transfer, i64)], column: impl Fn(&Transfer) -> T) -> Vec<T> {
            transfers.iter().map(|(transfer, _)| column(transfer)).collect()
        }
        let query = sqlx::query(TRANSFERS_WRITE)
            .bind(each(transfers, |transfer| transfer.id.uuid()))
            .bind(transfers.iter().map(|(_, version)| *version).collect::<Vec<_>>())
            .bind(each(transfers, |transfer| transfer.state.as_str()))
            .bind(each(transfers, |transfer| transfer.decision().map(|decision| decision.as_str())))
            .bind(each(transfers, |transfer| transfer.reason.map(Reason::as_str)))
            .bind(each(transfers, |transfer| transfer.decided_at))
            .bind(each(transfers, |transfer| transfer.updated_at))
            .bind(each(transfers, |transfer| transfer.next_attempt_at))
            .bind(each(transfers, |transfer| transfer.attempts))
            .bind(each(transfers, |transfer| transfer.last_error.clone()))
            .bind(each(transfers, |transfer| transfer.needs_operator))
            .bind(each(transfers, |transfer| transfer.event_version))
            .bind(each(transfers, |transfer| transfer.version))
            .bind(each(transfers, |transfer| {
                transfer.order_then.as_ref().map(|then| then.customer_id.uuid())
            }))
            .bind(each(transfers, |transfer| transfer.order_then.as_ref().map(|then| then.version)))
            .bind(each(transfers, |transfer| {
                transfer.order_then.as_ref().map(|then| then.refunded_minor_units)
            }))
            .bind(each(transfers, |transfer| transfer.order_then.as_ref().map(|then| then.updated_at)));
        let changed = self.execute(query).await?;
        if changed == transfers.len() as u64 {
            Ok(())
        } else {
            Err(Error::internal("a transfer that was locked has changed"))
        }
    }

    /// The history of the stream that this session's server has; `None` when a consumer's mark is not in it, and
    /// while the sequencer has not yet found out that this is another server than the one that the stream was
    /// stamped on. A backup that was restored over its own server has that server's epoch: only the mark tells.
    pub(crate) async fn stream_epoch(&mut self, mark: &Mark) -> Result<Option<Uuid>> {
        let server = self.server().await?;
        let query = sqlx::query(STREAM_EPOCH)
            .bind(STREAM)
            .bind(server.system_identifier)
            .bind(server.timeline)
            .bind(mark.position)
            .bind(mark.event_id.map(EventId::uuid));
        Ok(self.row::<(Uuid,)>(query).await?.map(|(epoch,)| epoch))
    }

    /// Records what an operator did to a transfer.
    pub(crate) async fn transfer_audit(&mut self, act: &OperatorAct<'_>) -> Result<()> {
        let query = sqlx::query(TRANSFER_AUDIT)
            .bind(act.id)
            .bind(&act.key.principal)
            .bind(act.key.method)
            .bind(act.key.request_id)
            .bind(act.transfer_id.uuid())
            .bind(act.before.as_str())
            .bind(act.after.as_str())
            .bind(act.traceparent);
        self.execute(query).await?;
        Ok(())
    }
}

/// Something that an operator did to a transfer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperatorAct<'a> {
    /// New.
    pub(crate) id: Uuid,
    /// Who, with which method and request.
    pub(crate) key: &'a RequestKey,
    /// To which transfer.
    pub(crate) transfer_id: TransferId,
    /// Its state before.
    pub(crate) before: State,
    /// Its state after.
    pub(crate) after: State,
    /// The trace of the call.
    pub(crate) traceparent: Option<&'a str>,
}
