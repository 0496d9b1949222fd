//! A multi-document transaction. Writes exist only here, and so does [`Tx::event_append`]: state cannot change
//! outside the transaction that records the event.

use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};
use mongodb::error::{Error as DriverError, TRANSIENT_TRANSACTION_ERROR};
use mongodb::options::{DeleteOneModel, InsertOneModel, ReadConcern, UpdateOneModel, WriteModel};
use mongodb::{ClientSession, Collection, Namespace};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep};
use types::{Effect, Failure};

use super::driver::{
    LONGER_THAN_LOCKS, bounded, bounded_raw, classify_commit, is_commit_in_doubt, refused, within,
};
use super::store::{Store, durable};
use super::writes::{OnDuplicate, Writes, conflict};
use crate::error::Result;

/// How long an unknown outcome of a commit is asked after. The server ends a transaction that was not committed, so the
/// answer is there by then, if the server is.
const COMMIT_WITHIN: Duration = LONGER_THAN_LOCKS;
/// How long one try waits: whoever does not answer is asked again, over another connection, while there is time.
const COMMIT_TRY: Duration = Duration::from_millis(1500);
const COMMIT_PAUSE: Duration = Duration::from_millis(50);

/// An open transaction. Dropping it rolls it back in the background (the driver sends the abort from a task that
/// it keeps for each session); should that get lost, the server ends it after `transactionLifetimeLimitSeconds`.
#[derive(Debug)]
pub struct Tx {
    /// Locked for as long as the transaction lives: whoever shares it gets at it when the transaction is gone.
    pub(crate) session: OwnedMutexGuard<ClientSession>,
    pub(super) store: Store,
    /// Whether there is something for the sequencer.
    pub(super) appended: bool,
    /// What is still to be sent.
    writes: Writes,
}

/// The session of a transaction, for whoever has to end the transaction after the work has dropped it.
pub(super) struct SharedSession(Arc<Mutex<ClientSession>>);

impl SharedSession {
    /// Rolls back, and waits for it: what follows does not meet the locks of this one. A transaction that is still
    /// held somewhere is left to its holder.
    pub(super) async fn abort(self) {
        if let Ok(mut session) = self.0.try_lock_owned() {
            abort(&mut session).await;
        }
    }
}

/// Whatever comes of it, the server's own limit ends the transaction.
async fn abort(session: &mut ClientSession) {
    let _ = bounded_raw(session.abort_transaction()).await;
}

impl Store {
    /// Begins a transaction; nothing is sent before its first statement. Prefer [`Store::transaction`], which
    /// tries again.
    ///
    /// # Errors
    /// When no server can be chosen.
    pub async fn begin(&self, name: &'static str) -> Result<Tx> {
        tracing::trace!(transaction = name, "begin");
        let store = self.kept();
        let mut session = bounded(store.client().start_session()).await?;
        let start =
            session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(durable());
        bounded(start).await?;
        let session = Arc::new(Mutex::new(session)).lock_owned().await;
        Ok(Tx { session, store, appended: false, writes: Writes::default() })
    }
}

impl Tx {
    /// A collection and the session to use it with.
    pub(crate) fn on<T: Send + Sync>(&mut self, name: &str) -> (Collection<T>, &mut ClientSession) {
        (self.store.collection(name), &mut self.session)
    }

    pub(super) fn namespace(&self, collection: &str) -> Namespace {
        self.store.collection::<Document>(collection).namespace()
    }

    pub(super) fn session_shared(&self) -> SharedSession {
        SharedSession(Arc::clone(OwnedMutexGuard::mutex(&self.session)))
    }

    /// The driver's session, for statements that there is no method for; tests have such.
    pub fn session(&mut self) -> &mut ClientSession {
        &mut self.session
    }

    /// Many update statements as one command, each of which must hit its document.
    pub(super) async fn update_all(&mut self, collection: &str, updates: Vec<Document>) -> Result<()> {
        let count = updates.len();
        let command = doc! { "update": collection, "updates": updates, "ordered": true };
        let database = self.store.database();
        let answer = bounded(database.run_command(command).session(&mut *self.session)).await?;
        let hit = answer.get_i32("n").ok().and_then(|hit| usize::try_from(hit).ok());
        if hit == Some(count) {
            return Ok(());
        }
        let errors = answer.get_array("writeErrors").ok();
        let what = format!("{hit:?} of {count} updates of {collection} were done: {errors:?}");
        let first = errors.and_then(|errors| errors.first()?.as_document()?.get_i32("code").ok());
        Err(first.map_or_else(|| Failure::internal(&*what), |code| refused(code, &*what)).into())
    }

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

    /// Deletes the one document that the filter finds. Where there is none, this is a conflict.
    pub(super) fn delete(&mut self, collection: &str, filter: Document) {
        let namespace = self.namespace(collection);
        self.writes
            .push(DeleteOneModel::builder().namespace(namespace).filter(filter).build(), Some(conflict));
    }

    /// Sends what was collected. The commit does it as well; a caller that wants to meet the conflicts before does
    /// it here. Something has to be read before: the stand-in for MongoDB takes no bulk write as the first statement
    /// of a transaction.
    ///
    /// # Errors
    /// A conflict when a document is not what it was; what the write says when its key is there already.
    pub async fn flush(&mut self) -> Result<()> {
        let writes = std::mem::take(&mut self.writes);
        writes.send(&self.store.client(), &mut self.session).await
    }

    /// Sends what is still to be sent and commits; asks again while the outcome is unknown. For whoever began the
    /// transaction: the work of [`Store::transaction`] says [`Tx::commit`].
    ///
    /// # Errors
    /// Those of [`Tx::flush`]; a conflict when nothing was committed and the same may work;
    /// `Unavailable` when the outcome stays unknown.
    pub async fn commit_now(mut self) -> Result<()> {
        if let Err(error) = self.flush().await {
            self.rollback().await;
            return Err(error);
        }
        let give_up = Instant::now() + COMMIT_WITHIN;
        let mut was_in_doubt = false;
        loop {
            let Err(error) = within(COMMIT_TRY, self.session.commit_transaction()).await else {
                break;
            };
            let is_in_doubt = is_commit_in_doubt(&error);
            if is_in_doubt && Instant::now() < give_up {
                was_in_doubt = true;
                sleep(COMMIT_PAUSE).await;
                continue;
            }
            // Whatever a later try was refused with, such as a login, says nothing of the one before it: except that the
            // transaction can be done again, which the server says only of one that it has ended.
            let is_known = !is_in_doubt && (!was_in_doubt || can_be_done_again(&error));
            let failure = classify_commit(error);
            return Err(if is_known { failure } else { left_in_doubt(failure) }.into());
        }
        if self.appended {
            self.store.shared.appended.notify_one();
        }
        Ok(())
    }

    /// Rolls back, and waits for it: what follows does not meet the locks of this one.
    pub async fn rollback(mut self) {
        abort(&mut self.session).await;
    }
}

fn can_be_done_again(error: &DriverError) -> bool {
    error.contains_label(TRANSIENT_TRANSACTION_ERROR)
}

/// A failure of a commit that may have been done: nobody does the transaction again.
fn left_in_doubt(failure: Failure) -> Failure {
    match failure {
        Failure::Contention(cause) | Failure::Internal(cause) => Failure::unavailable(cause),
        other => other.with_effect(Effect::Unknown),
    }
}
