//! After user service's database was restored to an older state, nobody's session can be trusted: whom it had
//! deactivated is active again, and auth epochs went back, so that ours would keep people out. What is rebuilt is
//! therefore nothing at all: everybody logs in again.

use events::admin::BoxFuture;
use events::source::Source;
use events::{Headers, Rebuilt, Snapshot, StoreError};

use super::REVOCATIONS;
use crate::storage::Store;

/// The resync of `session.revocations`.
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
    fn rebuild(&self) -> BoxFuture<'_, Result<Rebuilt, StoreError>> {
        Box::pin(async move {
            let head = self.source.head(REVOCATIONS.stream).await;
            let head = head.map_err(|error| StoreError::Transient(error.into()))?;
            let headers =
                Headers { traceparent: runtime::telemetry::current_traceparent(), ..Headers::default() };
            let aggregates = self.store.sessions_forget(&headers).await?;
            tracing::warn!(target: "audit", aggregates, "all sessions of all users were ended for a resync");
            Ok(Rebuilt { aggregates, head })
        })
    }
}
