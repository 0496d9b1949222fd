//! What is known of a hold's past, for whoever explains a transfer: its events, and its posting.

use bson::doc;
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use time::OffsetDateTime;
use types::{Money, PostingId, TransferId};
use uuid::Uuid;

use super::audit::sides_of;
use super::ledger::{DEBIT, ENTRIES, EntryId};
use super::wallets::currency;
use crate::error::{Error, Result};
use crate::storage::backbone::outbox::OUTBOX;
use crate::storage::{SERVER_TIME, Store, bounded, to_time};

/// What is known of a hold's past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HoldHistory {
    /// Its events, oldest first, as long as they are kept.
    pub(crate) events: Vec<HoldEvent>,
    /// What it entered into the book.
    pub(crate) posting: Option<HoldPosting>,
}

/// An event of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HoldEvent {
    pub(crate) id: Uuid,
    pub(crate) event_type: String,
    /// When it was appended.
    pub(crate) created_at: OffsetDateTime,
    /// The trace of what led to it.
    pub(crate) traceparent: Option<String>,
    /// Its place in the stream, once it is stamped.
    pub(crate) position: Option<i64>,
}

/// What a posted hold entered into the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HoldPosting {
    pub(crate) debit: String,
    pub(crate) credit: String,
    pub(crate) amount: Money,
    pub(crate) created_at: OffsetDateTime,
}

#[derive(Debug, Deserialize)]
struct EventRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    #[serde(rename = "type")]
    event_type: String,
    headers: HeadersRow,
    created_at: bson::DateTime,
    position: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct HeadersRow {
    traceparent: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SideRow {
    #[serde(rename = "_id")]
    id: EntryId,
    account: String,
    currency: String,
    amount: i64,
    created_at: bson::DateTime,
}

impl Store {
    /// What is known of a hold's past.
    pub(crate) async fn hold_history(&self, transfer_id: TransferId) -> Result<HoldHistory> {
        let outbox = self.collection::<EventRow>(OUTBOX);
        let filter = doc! { "aggregate.type": "hold", "aggregate.id": transfer_id.to_string() };
        let find = outbox.find(filter).sort(doc! { "aggregate.version": 1 }).max_time(SERVER_TIME);
        let rows: Vec<EventRow> = bounded(bounded(find).await?.try_collect()).await?;
        let events = rows.into_iter().map(|row| HoldEvent {
            id: row.id.into(),
            event_type: row.event_type,
            created_at: to_time(row.created_at),
            traceparent: row.headers.traceparent,
            position: row.position,
        });
        Ok(HoldHistory { events: events.collect(), posting: self.hold_posting(transfer_id).await? })
    }

    /// A transfer's posting has the transfer's id.
    async fn hold_posting(&self, transfer_id: TransferId) -> Result<Option<HoldPosting>> {
        let entries = self.collection::<SideRow>(ENTRIES);
        let find = entries.find(sides_of(&[PostingId::from_uuid(transfer_id.uuid())])).max_time(SERVER_TIME);
        let sides: Vec<SideRow> = bounded(bounded(find).await?.try_collect()).await?;
        let (debit, credit): (Vec<SideRow>, Vec<SideRow>) =
            sides.into_iter().partition(|side| side.id.side == DEBIT);
        match (debit.into_iter().next(), credit.into_iter().next()) {
            (None, None) => Ok(None),
            (Some(debit), Some(credit)) => Ok(Some(HoldPosting {
                amount: Money::new(currency(&debit.currency)?, debit.amount),
                created_at: to_time(debit.created_at),
                debit: debit.account,
                credit: credit.account,
            })),
            _ => Err(Error::internal(format!("posting {transfer_id} has one side only"))),
        }
    }
}
