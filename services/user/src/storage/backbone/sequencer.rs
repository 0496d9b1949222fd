//! Stamping: gives committed events their positions. One at a time, by a lease whose document every step writes,
//! so that of two steps one conflicts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bson::{Document, doc};
use events::{Event, Lease, OutboxStore, Pending, Position, Silent, Stamp, StoreError};
use futures_util::TryStreamExt as _;
use mongodb::options::ReturnDocument;
use serde::Deserialize;
use uuid::Uuid;

use super::lease::{self, CONSUMERS, LEASES, STREAM, StreamRow, owned, until};
use super::outbox::{EventRow, OUTBOX};
use crate::error::{Error, Result};
use crate::storage::driver::bounded;
use crate::storage::{SERVER_TIME, Store, Tx};

/// More statements than this are not sent in one command, so that a step stays far from the server's time limit
/// for a transaction.
const BATCH_MAX: usize = 1_000;

impl OutboxStore for Store {
    async fn lease(
        &self,
        stream: &str,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        Ok(lease::take(self, stream, owner, duration).await?)
    }

    async fn stamp(&self, lease: &Lease, limit: usize, duration: Duration) -> Result<Stamp, StoreError> {
        Ok(self.stamp_pending(lease, limit.clamp(1, BATCH_MAX), duration).await?)
    }

    async fn is_idle(&self, lease: &Lease, duration: Duration) -> Result<bool, StoreError> {
        Ok(self.nothing_to_stamp(lease, duration).await?)
    }

    async fn pending(&self, stream: &str) -> Result<Pending, StoreError> {
        if stream != STREAM {
            return Ok(Pending::default());
        }
        Ok(self.backlog().await?)
    }

    async fn published(&self, lease: &Lease, through: Position) -> Result<bool, StoreError> {
        let streams = self.collection::<StreamRow>(LEASES);
        let raised = doc! { "$max": { "published_through": through } };
        let updated = bounded(streams.update_one(owned(lease), raised)).await?;
        Ok(updated.matched_count == 1)
    }

    async fn prune(&self, lease: &Lease, retention: Duration, limit: usize) -> Result<u64, StoreError> {
        let limit = limit.clamp(1, BATCH_MAX);
        let pruned = self.transaction("prune", |mut tx| async move {
            let count = tx.prune(lease, retention, limit).await?;
            Ok(tx.commit(count))
        });
        Ok(pruned.await?)
    }

    async fn silent_consumers(&self, stream: &str, longer_than: Duration) -> Result<Vec<Silent>, StoreError> {
        Ok(self.consumers_silent(stream, longer_than).await?)
    }

    async fn appended(&self) {
        self.shared.appended.notified().await;
    }
}

impl Store {
    /// See [`OutboxStore::is_idle`]: one read of the lease, one of the index that holds what is left to do.
    async fn nothing_to_stamp(&self, lease: &Lease, duration: Duration) -> Result<bool> {
        if !self.connections.are_checked() {
            return Ok(false);
        }
        let mut held = owned(lease);
        held.insert("epoch", bson::Uuid::from(lease.epoch));
        held.insert("$expr", doc! { "$gt": ["$lease_until", until(duration * 2 / 3)] });
        let streams = self.collection::<Document>(LEASES);
        let found = streams.find_one(held).projection(doc! { "_id": 1 }).max_time(SERVER_TIME);
        if bounded(found).await?.is_none() {
            return Ok(false);
        }
        self.nothing_pending(lease).await
    }

    /// See [`OutboxStore::silent_consumers`].
    async fn consumers_silent(&self, stream: &str, longer_than: Duration) -> Result<Vec<Silent>> {
        let Some(row) = self.stream_row(stream).await? else {
            return Ok(Vec::new());
        };
        let consumers = self.collection::<SilentRow>(CONSUMERS);
        // Who has never acknowledged has no time, which compares as below any.
        let silent = doc! { "$or": [
            { "$ne": ["$epoch", row.epoch] },
            { "$lt": ["$acknowledged_at", before(longer_than)] },
        ] };
        let mut filter = consumers_of(stream);
        filter.insert("$expr", silent);
        let find = consumers.find(filter).sort(doc! { "_id": 1 }).max_time(SERVER_TIME);
        let rows: Vec<SilentRow> = bounded(bounded(find).await?.try_collect()).await?;
        let silent = |found: SilentRow| Silent {
            consumer: found.id.consumer,
            acknowledged: found.acknowledged,
            is_of_epoch: found.epoch == row.epoch,
        };
        Ok(rows.into_iter().map(silent).collect())
    }

    async fn stamp_pending(&self, lease: &Lease, limit: usize, duration: Duration) -> Result<Stamp> {
        if lease.stream != STREAM {
            return Err(Error::internal(format!("there is no stream {}", lease.stream)));
        }
        if !lease::is_on_its_server(self, STREAM).await? {
            return Ok(Stamp::LeaseLost);
        }
        // What was published is noted in the lease's document as well, so a conflict need not be a successor's.
        let stamped = self.transaction("stamp", |mut tx| async move {
            let mut found = tx.pending(lease, limit).await?;
            let stamp = tx.stamp(lease, std::mem::take(&mut found.rows), limit, duration).await?;
            Ok(tx.commit((stamp, found)))
        });
        let (stamp, found) = stamped.await?;
        if let Stamp::Stamped(_) = stamp {
            self.scanned(&found);
        }
        match stamp {
            Stamp::Stamped(events) if events.is_empty() => self.renew(lease, duration).await,
            stamp => Ok(stamp),
        }
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Stamp> {
        let streams = self.collection::<StreamRow>(LEASES);
        let renewed =
            streams.update_one(owned(lease), vec![doc! { "$set": { "lease_until": until(duration) } }]);
        let updated = bounded(renewed).await?;
        Ok(if updated.matched_count == 1 { Stamp::Stamped(Vec::new()) } else { Stamp::LeaseLost })
    }
}

/// Which consumer has come how far.
#[derive(Debug, Deserialize)]
struct ConsumerRow {
    epoch: bson::Uuid,
    acknowledged: Position,
}

/// A consumer and how far it has come.
#[derive(Debug, Deserialize)]
struct SilentRow {
    #[serde(rename = "_id")]
    id: ConsumerKey,
    epoch: bson::Uuid,
    acknowledged: Position,
}

#[derive(Debug, Deserialize)]
struct ConsumerKey {
    consumer: String,
}

/// When an event was stamped.
#[derive(Debug, Deserialize)]
struct StampedRow {
    position: Position,
    is_old: bool,
}

impl Tx {
    async fn stamp(
        &mut self,
        lease: &Lease,
        rows: Vec<EventRow>,
        limit: usize,
        duration: Duration,
    ) -> Result<Stamp> {
        if rows.is_empty() {
            return Ok(Stamp::Stamped(Vec::new()));
        }
        let mut rows = in_order(rows);
        rows.truncate(limit);
        let count = i64::try_from(rows.len()).map_err(Error::internal)?;
        let Some(stream) = self.stream_raise(lease, count, rows.last(), duration).await? else {
            return Ok(Stamp::LeaseLost);
        };
        let mut previous = stream.last_event_id;
        for (row, position) in rows.iter_mut().zip(stream.position + 1..) {
            row.pending = None;
            row.position = Some(position);
            row.previous = previous;
            previous = Some(row.id);
        }
        self.positions_write(&rows).await?;
        fault::point!("sequencer.stamping", &lease.stream);
        let epoch = stream.epoch.into();
        let events: Result<Vec<Event>> =
            rows.into_iter().map(|row| row.into_event(&lease.stream, epoch)).collect();
        Ok(Stamp::Stamped(events?))
    }

    /// Takes `count` positions, as long as the lease is held; the stream as it was before.
    async fn stream_raise(
        &mut self,
        lease: &Lease,
        count: i64,
        last: Option<&EventRow>,
        duration: Duration,
    ) -> Result<Option<StreamRow>> {
        let raised = doc! {
            "position": { "$add": ["$position", count] },
            "last_event_id": last.map(|row| row.id),
            "lease_until": until(duration),
        };
        let (streams, session) = self.on::<StreamRow>(LEASES);
        let update = streams
            .find_one_and_update(owned(lease), vec![doc! { "$set": raised }])
            .return_document(ReturnDocument::Before);
        bounded(update.session(session)).await
    }

    /// One command for all, by the id alone: this transaction has read each row as pending, so it conflicts with whoever has
    /// stamped one since. With a condition besides the id a server would try several indexes for each row.
    async fn positions_write(&mut self, rows: &[EventRow]) -> Result<()> {
        let updates: Vec<Document> = rows
            .iter()
            .map(|row| {
                let mut stamped = doc! { "position": row.position, "stamped_at": "$$NOW" };
                if let Some(previous) = row.previous {
                    stamped.insert("previous", previous);
                }
                doc! {
                    "q": { "_id": row.id },
                    "u": [{ "$set": stamped }, { "$unset": "pending" }],
                }
            })
            .collect();
        self.update_all(OUTBOX, updates).await
    }

    async fn prune(&mut self, lease: &Lease, retention: Duration, limit: usize) -> Result<u64> {
        let Some(stream) = self.stream_touch(lease).await? else {
            return Ok(0);
        };
        let acknowledged = self.acknowledged_by_all(&lease.stream, stream.epoch).await?;
        let rows = self.oldest(retention, limit + 1).await?;
        // Stamped in the order of positions: the old ones come first, and the last of them stays.
        let old = rows.iter().take_while(|row| row.is_old).count();
        let Some(keep) = old.checked_sub(1).and_then(|last| rows.get(last)) else {
            return Ok(0);
        };
        let Some(first) = rows.first() else { return Ok(0) };
        let below = keep.position.min(acknowledged.unwrap_or(Position::MAX));
        if below <= first.position {
            return Ok(0);
        }
        let (outbox, session) = self.on::<EventRow>(OUTBOX);
        let range = doc! { "position": { "$gte": first.position, "$lt": below } };
        let deleted = bounded(outbox.delete_many(range).session(session)).await?;
        fault::point!("pruner.pruning", &lease.stream);
        Ok(deleted.deleted_count)
    }

    /// Writes the lease's document, so that whoever takes it over conflicts.
    async fn stream_touch(&mut self, lease: &Lease) -> Result<Option<StreamRow>> {
        let (streams, session) = self.on::<StreamRow>(LEASES);
        let touch =
            streams.find_one_and_update(owned(lease), vec![doc! { "$set": { "pruned_at": "$$NOW" } }]);
        bounded(touch.session(session)).await
    }

    /// The smallest acknowledged position; `None` when no consumer is registered. A position of another epoch
    /// says nothing about this one, so its consumer holds back everything.
    async fn acknowledged_by_all(&mut self, stream: &str, epoch: bson::Uuid) -> Result<Option<Position>> {
        let (consumers, session) = self.on::<ConsumerRow>(CONSUMERS);
        let mut cursor = bounded(consumers.find(consumers_of(stream)).session(&mut *session)).await?;
        let rows: Vec<ConsumerRow> = bounded(cursor.stream(session).try_collect()).await?;
        Ok(rows.iter().map(|row| if row.epoch == epoch { row.acknowledged } else { 0 }).min())
    }

    async fn oldest(&mut self, retention: Duration, limit: usize) -> Result<Vec<StampedRow>> {
        let (outbox, session) = self.on::<StampedRow>(OUTBOX);
        let pipeline = [
            doc! { "$match": { "position": { "$exists": true } } },
            doc! { "$sort": { "position": 1 } },
            doc! { "$limit": i64::try_from(limit).unwrap_or(i64::MAX) },
            doc! { "$project": {
                "position": 1,
                "is_old": { "$lte": ["$stamped_at", before(retention)] },
            } },
        ];
        let aggregate = outbox
            .aggregate(pipeline)
            .batch_size(u32::try_from(limit).unwrap_or(u32::MAX))
            .with_type::<StampedRow>();
        let mut cursor = bounded(aggregate.session(&mut *session)).await?;
        bounded(cursor.stream(session).try_collect()).await
    }
}

/// The consumers of a stream, in the order of their ids: what begins with the stream.
fn consumers_of(stream: &str) -> Document {
    doc! { "_id": {
        "$gte": { "stream": stream },
        "$lte": { "stream": stream, "consumer": bson::Bson::MaxKey },
    } }
}

/// The time that was so long ago, as an expression.
fn before(duration: Duration) -> Document {
    let amount = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    doc! { "$dateSubtract": { "startDate": "$$NOW", "unit": "millisecond", "amount": amount } }
}

/// By id, but the events of one aggregate ascend: each takes the place of the lowest that is left of its
/// aggregate. Any first part of the outcome may be stamped without the rest.
fn in_order(mut rows: Vec<EventRow>) -> Vec<EventRow> {
    rows.sort_by_key(|row| row.id.bytes());
    let places: Vec<_> = rows.iter().map(aggregate).collect();
    let mut waiting: BTreeMap<_, VecDeque<EventRow>> = BTreeMap::new();
    rows.sort_by_key(|row| row.aggregate.version);
    for row in rows {
        waiting.entry(aggregate(&row)).or_default().push_back(row);
    }
    places.iter().filter_map(|place| waiting.get_mut(place)?.pop_front()).collect()
}

fn aggregate(row: &EventRow) -> (String, String) {
    (row.aggregate.kind.clone(), row.aggregate.id.clone())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use events::{Aggregate, Headers, NewEvent};
    use time::OffsetDateTime;
    use types::EventId;

    use super::*;

    fn row(id: u128, aggregate: &str, version: i64) -> EventRow {
        EventRow::from(&NewEvent {
            id: EventId::from_uuid(Uuid::from_u128(id)),
            aggregate: Aggregate::new("user", aggregate),
            aggregate_version: version,
            event_type: "test.v1.Happened".to_owned(),
            schema_version: 1,
            payload: Bytes::new(),
            headers: Headers::default(),
            created_at: OffsetDateTime::UNIX_EPOCH,
        })
    }

    #[test]
    fn versions_ascend_whatever_the_clocks_said_and_a_cut_leaves_no_hole() {
        let rows = vec![row(1, "a", 3), row(2, "b", 1), row(3, "a", 2), row(4, "b", 2), row(9, "a", 1)];
        let ordered: Vec<_> =
            in_order(rows).into_iter().map(|row| (row.aggregate.id, row.aggregate.version)).collect();
        let expected = [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3)];
        assert_eq!(ordered, expected.map(|(id, version)| (id.to_owned(), version)));
    }
}
