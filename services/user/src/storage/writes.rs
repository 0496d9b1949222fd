//! What a transaction writes: collected, and sent in one exchange with the server, however many collections it is
//! about. Nothing is lost by it: on MongoDB conflicts are found when a transaction writes, whatever came before.

use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::WriteModel;
use mongodb::{Client, ClientSession};

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
    pub(super) fn push(&mut self, model: impl Into<WriteModel>, on_duplicate: Option<OnDuplicate>) {
        self.models.push(model.into());
        self.duplicates.push(on_duplicate);
    }

    /// Sends them in one exchange, as part of the session's transaction.
    pub(super) async fn send(self, client: &Client, session: &mut ClientSession) -> Result<()> {
        let Self { models, duplicates } = self;
        if models.is_empty() {
            return Ok(());
        }
        let finds = |model: &&WriteModel| !matches!(model, WriteModel::InsertOne(_));
        let expected = models.iter().filter(finds).count();
        let sent = bounded_raw(client.bulk_write(models).session(session)).await;
        let done = sent.map_err(|error| refused(error, &duplicates))?;
        if usize::try_from(done.matched_count + done.upserted_count + done.deleted_count) == Ok(expected) {
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
