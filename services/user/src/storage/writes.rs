//! What a transaction writes: collected, and sent in one exchange with the server, however many collections it is
//! about. Nothing is lost by it: on MongoDB conflicts are found when a transaction writes, whatever came before.

use bson::Document;
use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::{InsertOneModel, ReplaceOneModel, UpdateOneModel, WriteModel};

use super::Tx;
use super::driver::{DUPLICATE_KEY, bounded_raw, classify};
use crate::error::{Error, Result};

/// What it means that a unique index refuses a write.
pub(super) type OnDuplicate = fn() -> Error;

/// Another call was faster: the next try sees what it left.
pub(super) fn conflict() -> Error {
    Error::contention("another call has written the same key")
}

/// What is still to be sent, in order.
#[derive(Debug, Default)]
pub(super) struct Writes {
    models: Vec<WriteModel>,
    /// One for each model; `None` where nobody else can have written the key, so that a duplicate is a defect.
    duplicates: Vec<Option<OnDuplicate>>,
}

impl Writes {
    fn push(&mut self, model: impl Into<WriteModel>, on_duplicate: Option<OnDuplicate>) {
        self.models.push(model.into());
        self.duplicates.push(on_duplicate);
    }
}

impl Tx {
    /// Inserts a document.
    pub(super) fn insert(&mut self, collection: &str, document: Document, on_duplicate: Option<OnDuplicate>) {
        let insert = self.insert_model(collection, document);
        self.writes.push(insert, on_duplicate);
    }

    /// The insert of a document, for a caller that sends it.
    pub(super) fn insert_model(&self, collection: &str, document: Document) -> WriteModel {
        let namespace = self.namespace(collection);
        InsertOneModel::builder().namespace(namespace).document(document).build().into()
    }

    /// Updates the one document that the filter finds. Where there is none, this is a conflict.
    pub(super) fn update(&mut self, update: UpdateOneModel) {
        self.writes.push(update, Some(conflict));
    }

    /// Replaces the one document that the filter finds. Where there is none, this is a conflict.
    pub(super) fn replace(&mut self, collection: &str, filter: Document, document: Document) {
        let namespace = self.namespace(collection);
        let replace =
            ReplaceOneModel::builder().namespace(namespace).filter(filter).replacement(document).build();
        self.writes.push(replace, Some(conflict));
    }

    /// Sends what was collected. The commit does it as well; a caller that wants to meet the conflicts before does
    /// it here. Something has to be read before: the stand-in for MongoDB takes no bulk write as the first statement
    /// of a transaction.
    ///
    /// # Errors
    /// A conflict when a document is not what it was; what the write says when its key is there already.
    pub async fn flush(&mut self) -> Result<()> {
        let Writes { models, duplicates } = std::mem::take(&mut self.writes);
        if models.is_empty() {
            return Ok(());
        }
        let is_update = |model: &&WriteModel| !matches!(model, WriteModel::InsertOne(_));
        let updates = models.iter().filter(is_update).count();
        let client = self.client();
        let sent = bounded_raw(client.bulk_write(models).session(&mut *self.session)).await;
        let done = sent.map_err(|error| refused(error, &duplicates))?;
        if usize::try_from(done.matched_count + done.upserted_count) == Ok(updates) {
            return Ok(());
        }
        Err(Error::contention("a document is not what it was"))
    }
}

/// What the server's refusal means, by the write that it is of.
fn refused(error: DriverError, duplicates: &[Option<OnDuplicate>]) -> Error {
    let ErrorKind::BulkWrite(bulk) = &*error.kind else { return classify(error).into() };
    // In order, so that there is one at most.
    let duplicate = bulk.write_errors.iter().find(|(_, error)| error.code == DUPLICATE_KEY);
    match duplicate.and_then(|(at, _)| duplicates.get(*at).copied().flatten()) {
        Some(on_duplicate) => on_duplicate(),
        None => classify(error).into(),
    }
}
