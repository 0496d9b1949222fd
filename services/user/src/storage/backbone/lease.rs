//! The sequencer's lease on a stream, by the server's clock, and the stream's history.
//!
//! The identity of the replica set is kept beside the epoch: a stream that is found on another one (a backup
//! restored elsewhere) gets a new epoch, so that no position of the old history is taken for one of the new. It is looked
//! at when the lease is taken, and again before a step that comes after a new connection.

use std::time::Duration;

use bson::{Document, doc};
use events::{Lease, Position};
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};
use types::EventId;
use uuid::Uuid;

use super::identity::Identity;
use crate::error::{Error, Result};
use crate::storage::driver::{bounded, bounded_raw, classify, is_duplicate_key};
use crate::storage::{SERVER_TIME, Store};

/// The stream of this service. There is one; the outbox would need its name once there are more.
pub const STREAM: &str = "user";
pub(super) const LEASES: &str = "outbox_lease";
pub(in crate::storage) const CONSUMERS: &str = "outbox_consumer";

/// A stream: who stamps it, and how far it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StreamRow {
    #[serde(rename = "_id")]
    stream: String,
    pub(super) epoch: bson::Uuid,
    /// The replica set that the epoch belongs to: see [`Identity`].
    server: String,
    /// Its name; missing in a stream that was last taken by a release that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set_name: Option<String>,
    owner: bson::Uuid,
    fence: i64,
    lease_until: bson::DateTime,
    /// The newest stamped position.
    pub(super) position: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_event_id: Option<bson::Uuid>,
    published_through: Position,
}

impl StreamRow {
    pub(super) fn last_event_id(&self) -> Option<EventId> {
        self.last_event_id.map(|id| EventId::from_uuid(id.into()))
    }
}

impl From<StreamRow> for Lease {
    fn from(row: StreamRow) -> Self {
        Self {
            stream: row.stream,
            owner: row.owner.into(),
            fence: row.fence,
            epoch: row.epoch.into(),
            head: row.position,
            published_through: row.published_through,
        }
    }
}

/// Makes a stream if it is not there.
pub(in crate::storage) async fn stream_create(store: &Store, stream: &str) -> Result<()> {
    let row = StreamRow {
        stream: stream.to_owned(),
        epoch: Uuid::new_v4().into(),
        // The validator that a release before the name made takes no other field; the first lease adds it.
        server: Identity::read(store).await?.server(),
        set_name: None,
        owner: Uuid::nil().into(),
        fence: 0,
        lease_until: bson::DateTime::from_millis(0),
        position: 0,
        last_event_id: None,
        published_through: 0,
    };
    match bounded_raw(store.collection::<StreamRow>(LEASES).insert_one(row)).await {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate_key(&error) => Ok(()),
        Err(error) => Err(classify(error).into()),
    }
}

/// See [`events::OutboxStore::lease`].
pub(super) async fn take(
    store: &Store,
    stream: &str,
    owner: Uuid,
    duration: Duration,
) -> Result<Option<Lease>> {
    let made = store.connections.made();
    let here = Identity::read(store).await?;
    let owner = bson::Uuid::from(owner);
    let free = doc! { "$or": [{ "$eq": ["$owner", owner] }, { "$lte": ["$lease_until", "$$NOW"] }] };
    let taken = doc! {
        "fence": { "$cond": [{ "$eq": ["$owner", owner] }, "$fence", { "$add": ["$fence", 1_i64] }] },
        "epoch": { "$cond": [here.is_in_document(), "$epoch", bson::Uuid::from(Uuid::new_v4())] },
        "server": here.server_kept(),
        "set_name": { "$literal": here.set_name() },
        "owner": owner,
        "lease_until": until(duration),
    };
    let streams = store.collection::<StreamRow>(LEASES);
    let update = streams
        .find_one_and_update(doc! { "_id": stream, "$expr": free }, vec![doc! { "$set": taken }])
        .return_document(ReturnDocument::After)
        .max_time(SERVER_TIME);
    let taken = bounded(update).await?;
    if taken.is_some() {
        store.connections.check(made);
    }
    Ok(taken.map(Lease::from))
}

/// Whether all connections lead to the server that the stream is stamped on.
pub(super) async fn is_on_its_server(store: &Store, stream: &str) -> Result<bool> {
    if store.connections.are_checked() {
        return Ok(true);
    }
    let made = store.connections.made();
    let here = Identity::read(store).await?;
    let is_same =
        store.stream_row(stream).await?.is_some_and(|row| here.is(&row.server, row.set_name.as_deref()));
    if is_same {
        store.connections.check(made);
    }
    Ok(is_same)
}

impl Store {
    /// Gives the stream a new epoch, and takes it from whoever has the lease.
    pub(crate) async fn epoch_replace(&self) -> Result<Uuid> {
        let epoch = Uuid::new_v4();
        let replaced = doc! {
            "$set": {
                "epoch": bson::Uuid::from(epoch),
                "owner": bson::Uuid::from(Uuid::nil()),
                "lease_until": bson::DateTime::from_millis(0),
            },
            "$inc": { "fence": 1_i64 },
        };
        let streams = self.collection::<StreamRow>(LEASES);
        let updated = bounded(streams.update_one(doc! { "_id": STREAM }, replaced)).await?;
        if updated.matched_count == 1 { Ok(epoch) } else { Err(Error::internal("there is no stream")) }
    }
}

/// Finds the stream as long as the lease is held.
pub(super) fn owned(lease: &Lease) -> Document {
    doc! { "_id": &lease.stream, "owner": bson::Uuid::from(lease.owner), "fence": lease.fence }
}

/// When a lease that is taken now runs out, as an expression.
pub(in crate::storage) fn until(duration: Duration) -> Document {
    let amount = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    doc! { "$dateAdd": { "startDate": "$$NOW", "unit": "millisecond", "amount": amount } }
}
