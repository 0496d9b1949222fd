//! How far this service has come in the streams that it consumes: the marks, and the right to move them.

use std::collections::HashSet;
use std::time::Duration;

use bson::{Bson, Document, doc};
use events::{
    Act, Aggregate, ConsumerId, ConsumerStore, ConsumerTx, Event, HoldClaim, LeasedMark, LockedMark, Mark,
    Parked, Position, Resynced, Skip, Standing, StoreError,
};
use futures_util::TryStreamExt as _;
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};
use types::EventId;
use uuid::Uuid;

use super::lease::until;
use crate::error::{Error, Result};
use crate::storage::driver::{bounded, bounded_raw, classify, is_duplicate_key};
use crate::storage::{SERVER_TIME, Store, Tx};

const COLLECTION: &str = "consumer_mark";

/// A consumer's mark as the database has it.
#[derive(Debug, Serialize, Deserialize)]
struct MarkRow {
    #[serde(rename = "_id")]
    consumer: String,
    stream: String,
    epoch: bson::Uuid,
    position: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_id: Option<bson::Uuid>,
    owner: bson::Uuid,
    lease_until: bson::DateTime,
    fence: i64,
    /// Counts the writes that only lock.
    touched: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    halted: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold_until: Option<bson::DateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resynced: Option<ResyncedRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<ActRow>,
    /// Whether a resync holds it by the server's clock, where that was asked.
    #[serde(default, skip_serializing)]
    held: bool,
}

/// The last act of an operator on parked events.
#[derive(Debug, Serialize, Deserialize)]
struct ActRow {
    request_id: bson::Uuid,
    outcome: String,
}

/// The last resync that ended.
#[derive(Debug, Serialize, Deserialize)]
struct ResyncedRow {
    request_id: bson::Uuid,
    aggregates: i64,
    position: Position,
}

impl MarkRow {
    fn mark(&self) -> Mark {
        Mark {
            epoch: self.epoch.into(),
            position: self.position,
            event_id: self.event_id.map(|id| EventId::from_uuid(id.into())),
        }
    }

    fn standing(self) -> Standing {
        let resynced = self.resynced.as_ref().map(|done| Resynced {
            request_id: done.request_id.into(),
            aggregates: done.aggregates.cast_unsigned(),
            position: done.position,
        });
        Standing { mark: self.mark(), halted: self.halted, held: self.held, resynced }
    }

    fn leased(self) -> LeasedMark {
        LeasedMark { mark: self.mark(), fence: self.fence, halted: self.halted }
    }
}

impl ConsumerStore for Store {
    type Tx = Tx;

    async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Self::begin(self, "consume").await?)
    }

    async fn mark_lease(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<LeasedMark>, StoreError> {
        if let Some(row) = self.mark_take(consumer, owner, duration).await? {
            return Ok(Some(row.leased()));
        }
        // Somebody has it, or nobody ever had: then it is made free, and taken as any other.
        if self.mark_create(consumer).await? {
            return Ok(self.mark_take(consumer, owner, duration).await?.map(MarkRow::leased));
        }
        Ok(None)
    }

    async fn mark_adopt(&self, consumer: ConsumerId, from: &Mark, to: &Mark) -> Result<bool, StoreError> {
        self.mark_update(at_running(consumer, from), moved(to, &[])).await
    }

    async fn halt(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        at: &Mark,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let mut here = self::at(consumer, at);
        here.insert("owner", bson::Uuid::from(owner));
        here.insert("halted", Bson::Null);
        self.mark_update(here, doc! { "$set": { "halted": reason } }).await
    }

    async fn standing(&self, consumer: ConsumerId) -> Result<Option<Standing>, StoreError> {
        let marks = self.collection::<MarkRow>(COLLECTION);
        let pipeline = [
            doc! { "$match": { "_id": consumer.name } },
            doc! { "$set": { "held": { "$gt": ["$hold_until", "$$NOW"] } } },
        ];
        let aggregate = marks.aggregate(pipeline).with_type::<MarkRow>().max_time(SERVER_TIME);
        let row = bounded(bounded(aggregate).await?.try_next()).await?;
        Ok(row.map(MarkRow::standing))
    }

    async fn resync_hold(
        &self,
        consumer: ConsumerId,
        reason: &str,
        duration: Duration,
    ) -> Result<Option<HoldClaim>, StoreError> {
        let marks = self.collection::<MarkRow>(COLLECTION);
        // A mark without the field compares as below any time.
        let free = doc! { "_id": consumer.name, "$expr": { "$lte": ["$hold_until", "$$NOW"] } };
        let hold = doc! { "halted": { "$literal": reason }, "hold_until": until(duration) };
        let update = marks.find_one_and_update(free, vec![doc! { "$set": hold }]).max_time(SERVER_TIME);
        if let Some(row) = bounded(update).await? {
            return Ok(Some(HoldClaim::Held(row.mark())));
        }
        let standing = self.standing(consumer).await?;
        Ok(standing.map(|standing| HoldClaim::Taken(standing.halted.unwrap_or_default())))
    }

    async fn resync_end(
        &self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
        held: Option<&str>,
        done: &Resynced,
    ) -> Result<bool, StoreError> {
        let mut here = at(consumer, from);
        here.insert("halted", held);
        let mut change = moved(to, &["halted", "hold_until"]);
        if let Ok(set) = change.get_document_mut("$set") {
            let (request_id, aggregates) = (bson::Uuid::from(done.request_id), done.aggregates.cast_signed());
            let kept = doc! { "request_id": request_id, "aggregates": aggregates, "position": done.position };
            set.insert("resynced", kept);
        }
        self.mark_update(here, change).await
    }

    async fn parked_list(
        &self,
        consumer: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Parked>, StoreError> {
        Ok(self.parked_after(consumer, after, limit).await?)
    }
}

impl Store {
    /// How far a consumer has come; `None` when it never ran.
    pub(crate) async fn mark_fetch(&self, consumer: ConsumerId) -> Result<Option<Mark>> {
        let marks = self.collection::<MarkRow>(COLLECTION);
        let find = marks.find_one(doc! { "_id": consumer.name }).max_time(SERVER_TIME);
        Ok(bounded(find).await?.map(|row| row.mark()))
    }

    async fn mark_update(&self, here: Document, change: Document) -> Result<bool, StoreError> {
        let marks = self.collection::<MarkRow>(COLLECTION);
        Ok(bounded(marks.update_one(here, change)).await?.matched_count == 1)
    }

    async fn mark_take(
        &self,
        consumer: ConsumerId,
        owner: Uuid,
        duration: Duration,
    ) -> Result<Option<MarkRow>> {
        let owner = bson::Uuid::from(owner);
        let free = doc! { "$or": [{ "$eq": ["$owner", owner] }, { "$lte": ["$lease_until", "$$NOW"] }] };
        let taken = doc! {
            "fence": { "$cond": [{ "$eq": ["$owner", owner] }, "$fence", { "$add": ["$fence", 1_i64] }] },
            "owner": owner,
            "lease_until": until(duration),
        };
        let marks = self.collection::<MarkRow>(COLLECTION);
        let update = marks
            .find_one_and_update(doc! { "_id": consumer.name, "$expr": free }, vec![doc! { "$set": taken }])
            .return_document(ReturnDocument::After)
            .max_time(SERVER_TIME);
        bounded(update).await
    }

    /// `false` when the mark is there already.
    async fn mark_create(&self, consumer: ConsumerId) -> Result<bool> {
        self.mark_create_at(consumer.name, consumer.stream, Mark::START).await
    }

    /// Makes the mark of a consumer of our own stream at the newest event, unless it is there already.
    pub(in crate::storage) async fn mark_create_at_head(&self, consumer: &str, stream: &str) -> Result<()> {
        let head = self.stream_head(stream).await?;
        let head = head.ok_or_else(|| Error::internal(format!("there is no stream {stream} here")))?;
        let mark = Mark::at(head.epoch, head.position, head.event_id);
        self.mark_create_at(consumer, stream, mark).await.map(drop)
    }

    async fn mark_create_at(&self, consumer: &str, stream: &str, mark: Mark) -> Result<bool> {
        let row = MarkRow {
            consumer: consumer.to_owned(),
            stream: stream.to_owned(),
            epoch: mark.epoch.into(),
            position: mark.position,
            event_id: mark.event_id.map(|id| id.uuid().into()),
            owner: Uuid::nil().into(),
            lease_until: bson::DateTime::from_millis(0),
            fence: 0,
            touched: 0,
            halted: None,
            hold_until: None,
            resynced: None,
            act: None,
            held: false,
        };
        match bounded_raw(self.collection::<MarkRow>(COLLECTION).insert_one(row)).await {
            Ok(_) => Ok(true),
            Err(error) if is_duplicate_key(&error) => Ok(false),
            Err(error) => Err(classify(error).into()),
        }
    }
}

impl Tx {
    /// As [`ConsumerTx::mark_lock`], unless the consumer is halted.
    pub(crate) async fn mark_lock_running(&mut self, consumer: ConsumerId) -> Result<Option<Mark>> {
        let row = self.mark_touch(doc! { "_id": consumer.name, "halted": Bson::Null }).await?;
        Ok(row.map(|row| row.mark()))
    }

    /// How far a consumer has come, as of this transaction's snapshot; `None` when it never ran.
    pub(super) async fn mark_fetch(&mut self, consumer: ConsumerId) -> Result<Option<Mark>> {
        let (marks, session) = self.on::<MarkRow>(COLLECTION);
        let row = bounded(marks.find_one(doc! { "_id": consumer.name }).session(session)).await?;
        Ok(row.map(|row| row.mark()))
    }

    async fn mark_touch(&mut self, which: Document) -> Result<Option<MarkRow>> {
        let (marks, session) = self.on::<MarkRow>(COLLECTION);
        let touch = doc! { "$inc": { "touched": 1_i64 } };
        bounded(marks.find_one_and_update(which, touch).session(session)).await
    }
}

impl ConsumerTx for Tx {
    async fn mark_advance(
        &mut self,
        consumer: ConsumerId,
        from: &Mark,
        to: &Mark,
    ) -> Result<bool, StoreError> {
        let (marks, session) = self.on::<MarkRow>(COLLECTION);
        let here = at_running(consumer, from);
        let updated = bounded(marks.update_one(here, moved(to, &[])).session(session)).await?;
        Ok(updated.matched_count == 1)
    }

    async fn mark_lock(&mut self, consumer: ConsumerId) -> Result<Option<LockedMark>, StoreError> {
        let row = self.mark_touch(doc! { "_id": consumer.name }).await?;
        Ok(row.map(|row| LockedMark { mark: row.mark(), halted: row.halted }))
    }

    async fn resync_holds(
        &mut self,
        consumer: ConsumerId,
        held: &str,
        duration: Duration,
    ) -> Result<bool, StoreError> {
        let (marks, session) = self.on::<MarkRow>(COLLECTION);
        let renewed = doc! { "hold_until": until(duration), "touched": { "$add": ["$touched", 1_i64] } };
        let which = doc! { "_id": consumer.name, "halted": held };
        let updated =
            bounded(marks.update_one(which, vec![doc! { "$set": renewed }]).session(session)).await?;
        Ok(updated.matched_count == 1)
    }

    async fn parked_any(&mut self, consumer: ConsumerId) -> Result<bool, StoreError> {
        Ok(self.parked_is_there(consumer).await?)
    }

    async fn parked_among(
        &mut self,
        consumer: ConsumerId,
        aggregates: &[Aggregate],
    ) -> Result<HashSet<Aggregate>, StoreError> {
        let mut parked = self.parked_aggregates(consumer).await?;
        parked.retain(|aggregate| aggregates.contains(aggregate));
        Ok(parked)
    }

    async fn parked_aggregate_count(&mut self, consumer: ConsumerId) -> Result<u64, StoreError> {
        Ok(self.parked_aggregates(consumer).await?.len() as u64)
    }

    async fn park(
        &mut self,
        consumer: ConsumerId,
        event: &Event,
        attempts: i32,
        error: &str,
    ) -> Result<(), StoreError> {
        Ok(self.parked_write(consumer, event, attempts, error).await?)
    }

    async fn parked_first(
        &mut self,
        consumer: ConsumerId,
        aggregate: &Aggregate,
    ) -> Result<Option<(Parked, usize)>, StoreError> {
        Ok(self.parked_oldest(consumer, aggregate).await?)
    }

    async fn parked_remove(
        &mut self,
        consumer: ConsumerId,
        event_id: EventId,
    ) -> Result<Option<Parked>, StoreError> {
        Ok(self.parked_delete(consumer, event_id).await?)
    }

    async fn act(&mut self, consumer: ConsumerId) -> Result<Option<Act>, StoreError> {
        let (marks, session) = self.on::<MarkRow>(COLLECTION);
        let row = bounded(marks.find_one(doc! { "_id": consumer.name }).session(session)).await?;
        let act = row.and_then(|row| row.act);
        Ok(act.map(|act| Act { request_id: act.request_id.into(), outcome: act.outcome }))
    }

    async fn act_keep(&mut self, consumer: ConsumerId, act: &Act) -> Result<(), StoreError> {
        let (marks, session) = self.on::<MarkRow>(COLLECTION);
        let kept = doc! { "request_id": bson::Uuid::from(act.request_id), "outcome": &act.outcome };
        let keep = doc! { "$set": { "act": kept } };
        bounded(marks.update_one(doc! { "_id": consumer.name }, keep).session(session)).await?;
        Ok(())
    }

    async fn skip_record(
        &mut self,
        consumer: ConsumerId,
        position: Position,
        skip: &Skip,
    ) -> Result<(), StoreError> {
        Ok(self.parked_skip_insert(consumer, position, skip).await?)
    }

    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.commit_now().await?)
    }

    async fn rollback(self) {
        Self::rollback(self).await;
    }
}

/// A consumer whose mark is exactly there.
fn at(consumer: ConsumerId, mark: &Mark) -> Document {
    let event_id = match mark.event_id {
        Some(id) => bson::Bson::from(bson::Uuid::from(id.uuid())),
        None => doc! { "$exists": false }.into(),
    };
    doc! {
        "_id": consumer.name,
        "epoch": bson::Uuid::from(mark.epoch),
        "position": mark.position,
        "event_id": event_id,
    }
}

/// The same, unless it is halted: a replica that was paused while another halted it does nothing more.
fn at_running(consumer: ConsumerId, mark: &Mark) -> Document {
    let mut here = at(consumer, mark);
    here.insert("halted", Bson::Null);
    here
}

/// The change that puts the mark there and clears some more fields.
fn moved(to: &Mark, clear: &[&str]) -> Document {
    let mut set = doc! { "epoch": bson::Uuid::from(to.epoch), "position": to.position };
    let mut unset: Document = clear.iter().map(|field| ((*field).to_owned(), bson::Bson::from(""))).collect();
    match to.event_id {
        Some(id) => set.insert("event_id", bson::Uuid::from(id.uuid())),
        None => unset.insert("event_id", ""),
    };
    let mut change = doc! { "$set": set };
    if !unset.is_empty() {
        change.insert("$unset", unset);
    }
    change
}
