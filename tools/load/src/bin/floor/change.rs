//! What every change of the services writes besides the change itself: its event, and its answer for repeats of the call.

use anyhow::Result;
use bson::spec::BinarySubtype;
use bson::{Binary, DateTime, Document, doc};
use mongodb::options::{
    DeleteOneModel, InsertOneModel, ReadConcern, UpdateOneModel, WriteConcern, WriteModel,
};
use mongodb::{Client, ClientSession, Database, Namespace};
use prost::{Message, Name};
use uuid::Uuid;

/// How long an answer is kept.
const KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// Writes changes.
#[derive(Clone)]
pub(crate) struct Changes {
    client: Client,
    database: Database,
}

impl Changes {
    pub(crate) fn of(database: &Database) -> Self {
        Self { client: database.client().clone(), database: database.clone() }
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self) -> Result<ClientSession> {
        let mut session = self.client.start_session().await?;
        let begin = session.start_transaction().read_concern(ReadConcern::snapshot());
        begin.write_concern(WriteConcern::majority()).await?;
        Ok(session)
    }

    /// Sends all writes with one command, and commits.
    pub(crate) async fn commit(&self, mut session: ClientSession, writes: Vec<WriteModel>) -> Result<()> {
        self.client.bulk_write(writes).session(&mut session).await?;
        Ok(session.commit_transaction().await?)
    }

    pub(crate) fn update(&self, collection: &str, filter: Document, change: Document) -> WriteModel {
        let of = self.namespace(collection);
        UpdateOneModel::builder().namespace(of).filter(filter).update(change).build().into()
    }

    pub(crate) fn insert(&self, collection: &str, document: Document) -> WriteModel {
        let of = self.namespace(collection);
        InsertOneModel::builder().namespace(of).document(document).build().into()
    }

    pub(crate) fn delete(&self, collection: &str, filter: Document) -> WriteModel {
        DeleteOneModel::builder().namespace(self.namespace(collection)).filter(filter).build().into()
    }

    /// The event of a change. It is not pending, so that no sequencer has work with it.
    pub(crate) fn event<M: Message + Name>(&self, id: bson::Uuid, version: i64, payload: &M) -> WriteModel {
        let event = doc! {
            "_id": bson::Uuid::from(Uuid::now_v7()),
            // A kind of its own: the versions of the services' aggregates are theirs.
            "aggregate": { "type": "floor", "id": Uuid::from(id).to_string(), "version": version },
            "type": M::full_name(),
            "schema_version": 1,
            "payload": Binary { subtype: BinarySubtype::Generic, bytes: payload.encode_to_vec() },
            "headers": {},
            "created_at": DateTime::now(),
        };
        self.insert("outbox", event)
    }

    /// What is kept for repeats of the call.
    pub(crate) fn answer(&self, request_id: &str, outcome: Document) -> Result<WriteModel> {
        let (request_id, now) = (bson::Uuid::from(request_id.parse::<Uuid>()?), DateTime::now());
        let answer = doc! {
            "_id": { "principal": "floor", "method": "floor", "request_id": request_id },
            "fingerprint": Binary { subtype: BinarySubtype::Generic, bytes: vec![0; 32] },
            "outcome": outcome,
            "create_time": now,
            "expire_time": DateTime::from_millis(now.timestamp_millis() + KEPT_MS),
        };
        Ok(self.insert("request", answer))
    }

    fn namespace(&self, collection: &str) -> Namespace {
        Namespace::new(self.database.name(), collection)
    }
}
