//! What user service's database says about owners.

use anyhow::{Context as _, Result, ensure};
use bson::{Bson, Document, doc};
use tests::System;

const DATABASE: &str = "user_service";
/// More than a test writes.
const ALL: i32 = 10_000;

/// Commands beside the services'.
pub(super) struct Watch<'a>(&'a System);

impl<'a> Watch<'a> {
    pub(super) fn of(system: &'a System) -> Self {
        Self(system)
    }

    async fn find(&self, collection: &str, which: Document, fields: &[&str]) -> Result<Vec<Document>> {
        let projection: Document = fields.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect();
        let find = doc! {
            "find": collection, "filter": which, "projection": projection, "sort": { "position": 1 },
            "batchSize": ALL,
        };
        let answer = self.0.stack.databases.mongo.admin().run(DATABASE, find).await?;
        let cursor = answer.get_document("cursor").context("a cursor")?;
        ensure!(cursor.get_i64("id").ok() == Some(0), "more than {ALL}");
        let rows = cursor.get_array("firstBatch").context("a batch")?;
        rows.iter().map(|row| row.as_document().cloned().context("a document")).collect()
    }

    async fn one(&self, collection: &str, id: &str, fields: &[&str]) -> Result<Document> {
        let found = self.find(collection, doc! { "_id": id }, fields).await?;
        found.into_iter().next().with_context(|| format!("{collection} has no {id}"))
    }

    /// Who stamps, and how far.
    pub(super) async fn lease(&self) -> Result<Document> {
        let fields = ["owner", "fence", "position", "last_event_id", "published_through"];
        self.one("outbox_lease", "user", &fields).await
    }

    /// Who applies, and how far.
    pub(super) async fn mark(&self, consumer: &str) -> Result<Document> {
        self.one("consumer_mark", consumer, &["owner", "fence", "position", "event_id"]).await
    }

    /// All that was stamped, in order, and what was not.
    pub(super) async fn outbox(&self) -> Result<Vec<Document>> {
        self.find("outbox", doc! {}, &["position", "previous", "stamped_at", "pending"]).await
    }

    /// The positions, from the first on.
    pub(super) async fn positions(&self) -> Result<Vec<Option<i64>>> {
        Ok(self.outbox().await?.iter().map(|row| row.get_i64("position").ok()).collect())
    }
}

/// A number of a row.
pub(super) fn number(row: &Document, field: &str) -> Result<i64> {
    row.get_i64(field).with_context(|| format!("{field} of {row}"))
}
