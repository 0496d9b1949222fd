//! The resync of `session.revocations`, for the case that user service's database was restored to an older state. No
//! session can be trusted then: users that were deactivated are active again, and auth epochs are lower than those that
//! we know, which would keep people out. So all sessions end and all auth epochs are forgotten: everybody logs in
//! again.
//!
//! The consumer then goes on before the oldest event that user service has. A login that was on its way during the
//! resync may have been checked before a deactivation; when that event is applied again, it ends the session.

use events::admin::{BoxFuture, Rebuild, Snapshot};
use events::source::{Source, SourceError};
use events::{Headers, Mark, RESYNC_HOLD, StoreError};
use futures_util::StreamExt as _;

use super::REVOCATIONS;
use crate::domain::Partition;
use crate::error::{Error, Result};
use crate::storage::Store;

/// Ends all sessions of all users.
pub(crate) struct StartOver<P> {
    store: Store,
    source: P,
}

impl<P> StartOver<P> {
    pub(crate) fn new(store: Store, source: P) -> Self {
        Self { store, source }
    }
}

impl<P: Source> Snapshot for StartOver<P> {
    fn open(&self) -> BoxFuture<'_, Result<Box<dyn Rebuild>, StoreError>> {
        Box::pin(async move {
            let (mark, store) = (oldest_mark(&self.source).await?, self.store.clone());
            Ok(Box::new(Forgetting { mark, store }) as Box<dyn Rebuild>)
        })
    }
}

/// One run of it.
struct Forgetting {
    mark: Mark,
    store: Store,
}

impl Rebuild for Forgetting {
    fn mark(&self) -> Mark {
        self.mark
    }

    fn write(self: Box<Self>, held: String) -> BoxFuture<'static, Result<u64, StoreError>> {
        Box::pin(async move {
            let headers =
                Headers { traceparent: runtime::telemetry::current_traceparent(), ..Headers::default() };
            let mut users = 0;
            for partition in Partition::all() {
                let mut cursor = 0;
                loop {
                    // This is a script of its own, since the sessions are in other slots of a cluster. When another
                    // resync takes the hold right after it, a few more sessions end, and nothing else happens.
                    if !self.store.resync_renew(REVOCATIONS.name, &held, RESYNC_HOLD).await? {
                        return Err(StoreError::Transient("another resync took over".into()));
                    }
                    let (some, next) = self.store.sessions_forget_some(partition, cursor, &headers).await?;
                    users += some;
                    cursor = next;
                    if cursor == 0 {
                        break;
                    }
                }
            }
            tracing::warn!(target: "audit", users, "all sessions of all users were ended for a resync");
            Ok(users)
        })
    }
}

/// The mark before the oldest event that user service has. Applying an event again is harmless, missing one is not.
pub(crate) async fn oldest_mark<P: Source>(source: &P) -> Result<Mark> {
    let away = |error: SourceError| Error::unavailable(error);
    let head = source.head(REVOCATIONS.stream).await.map_err(away)?;
    let begin = Mark { epoch: head.epoch, ..Mark::START };
    if head.oldest <= 1 {
        return Ok(begin);
    }
    let before = head.oldest - 1;
    let mut pages = source.replay(REVOCATIONS.stream, head.epoch, before, false).await.map_err(away)?;
    let page = pages.next().await.transpose().map_err(away)?;
    let oldest = page.and_then(|page| page.events.into_iter().next());
    let oldest = oldest.ok_or_else(|| Error::unavailable("the oldest event was pruned just now"))?;
    Ok(Mark { position: before, event_id: oldest.previous, ..begin })
}
