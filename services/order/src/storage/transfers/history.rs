//! What this service knows of a transfer's past: its events, what operators did, its hold and its posting.

use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use types::{Decimal, TransferId};
use uuid::Uuid;

use crate::error::Result;
use crate::storage::Store;
use crate::storage::backbone::headers_from_json;
use crate::storage::statement::statements;

statements! {
    TRANSFER_HISTORY =
        "SELECT created_at AS at, type || CASE WHEN position IS NULL THEN ', not stamped yet'
                                               ELSE ' at position ' || position END AS description,
                NULL::bigint AS minor_units, NULL::text AS currency, NULL::text AS rest, event_id, headers
         FROM outbox WHERE aggregate_type = 'transfer' AND aggregate_id = $1::uuid::text
         UNION ALL
         SELECT created_at, 'operator ' || principal || ' called ' || method || ': ' || state_before || ' to '
                || state_after, NULL, NULL, NULL, NULL, jsonb_build_object('traceparent', traceparent)
         FROM transfer_audit WHERE transfer_id = $1
         UNION ALL
         SELECT created_at, 'the account set ', amount, currency,
                ' aside' || coalesce(': refused, ' || refusal, ''), NULL, '{}'
         FROM holds WHERE transfer_id = $1 AND owner_id IS NOT NULL
         UNION ALL
         SELECT updated_at, 'the hold of the account became ' || state, NULL, NULL, NULL, NULL, '{}'
         FROM holds WHERE transfer_id = $1 AND version > 1
         UNION ALL
         SELECT p.created_at, 'posted: debit ' || debit.account || ', credit ' || credit.account || ', ',
                credit.credit, credit.currency, NULL, NULL, '{}'
         FROM postings p JOIN entries debit USING (transfer_id) JOIN entries credit USING (transfer_id)
         WHERE p.transfer_id = $1 AND debit.debit > 0 AND credit.credit > 0";
}

/// One thing that happened to a transfer, or because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HistoryStep {
    pub(crate) at: OffsetDateTime,
    pub(crate) description: String,
    /// The event that tells of it.
    pub(crate) event_id: Option<Uuid>,
    /// The trace of what led to it.
    pub(crate) traceparent: Option<String>,
}

#[derive(Debug, FromRow)]
struct Row {
    at: OffsetDateTime,
    /// What happened; up to the amount, where there is one.
    description: String,
    minor_units: Option<i64>,
    currency: Option<String>,
    /// What follows the amount.
    rest: Option<String>,
    event_id: Option<Uuid>,
    headers: Json<Value>,
}

impl Row {
    fn description(&self) -> String {
        let amount = self.minor_units.zip(self.currency.as_ref());
        let amount = amount.map(|(amount, currency)| format!("{} {currency}", Decimal::of(currency, amount)));
        [Some(&self.description), amount.as_ref(), self.rest.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect()
    }
}

impl Store {
    /// What is known of a transfer, in no order: one statement, so one snapshot. Events that were pruned are gone.
    pub(crate) async fn transfer_history(&self, id: TransferId) -> Result<Vec<HistoryStep>> {
        let query = sqlx::query(TRANSFER_HISTORY).bind(id.uuid());
        let rows: Vec<Row> = self.read().await?.rows(query).await?;
        Ok(rows
            .into_iter()
            .map(|row| HistoryStep {
                at: row.at,
                description: row.description(),
                event_id: row.event_id,
                traceparent: headers_from_json(&row.headers.0).traceparent,
            })
            .collect())
    }
}
