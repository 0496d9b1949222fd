//! Reads of one moment over several statements, for as long as they take: the server ends a transaction after some
//! seconds, and with it its locks; a snapshot session has neither. It lasts for as long as the server keeps snapshots
//! (`minSnapshotHistoryWindowInSeconds`, five minutes unless set).

use bson::{Document, Timestamp, doc};
use mongodb::options::ReadConcern;
use mongodb::{ClientSession, Collection};

use super::Store;
use super::driver::{bounded, bounded_raw, classify, code};
use super::store::durable;
use crate::error::Result;

/// `SnapshotTooOld` and `SnapshotUnavailable`: what a server says that looks for the moment it was asked for.
const LOOKS_FOR_MOMENTS: [i32; 2] = [239, 246];
/// No server remembers that.
const LONG_AGO: Timestamp = Timestamp { time: 1, increment: 1 };

/// Reads of one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    session: ClientSession,
    store: Store,
}

impl Snapshot {
    /// A collection and the session to read it with.
    pub(super) fn on<T: Send + Sync>(&mut self, name: &str) -> (Collection<T>, &mut ClientSession) {
        (self.store.collection(name), &mut self.session)
    }
}

impl Store {
    /// Begins reads of one moment: that of the first statement. On a server that has no snapshot sessions they are a
    /// transaction, which has to end within its lifetime.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot> {
        let has_snapshots = self.shared.has_snapshots.get_or_try_init(|| self.probe_snapshots()).await?;
        let store = self.kept();
        let session = if *has_snapshots {
            bounded(store.client().start_session().snapshot(true)).await?
        } else {
            let mut session = bounded(store.client().start_session()).await?;
            let start =
                session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(durable());
            bounded(start).await?;
            session
        };
        Ok(Snapshot { session, store })
    }

    /// Whether the server reads what was at a moment. The stand-in for MongoDB takes such a read and shows the present; who
    /// minds the moment has to refuse one that is long past.
    async fn probe_snapshots(&self) -> Result<bool> {
        let store = self.kept();
        let mut session =
            bounded(store.client().start_session().snapshot(true).snapshot_time(LONG_AGO)).await?;
        let any = store.collection::<Document>("migration");
        let read = any.find_one(doc! {}).session(&mut session);
        let refused = match bounded_raw(read).await {
            Ok(_) => None,
            Err(error) => match code(&error) {
                Some(code) => Some(code),
                None => return Err(classify(error).into()),
            },
        };
        let minds = refused.is_some_and(|code| LOOKS_FOR_MOMENTS.contains(&code));
        if !minds {
            tracing::info!(code = refused, "no snapshot sessions: reads of one moment are transactions");
        }
        Ok(minds)
    }
}
