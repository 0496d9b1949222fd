//! What can be asked of this service, by noun. Callers come authenticated; whether an object is theirs is decided
//! here.

mod events;
pub(crate) mod posts;
pub(crate) mod relations;
pub(crate) mod users;
pub(crate) mod wallets;

use std::sync::Arc;

use time::OffsetDateTime;
use types::{Answer, Call, Clock, Failure, IdSource};

pub use users::Bootstrapped;

use crate::error::Result;
use crate::passwords::Hasher;
use crate::storage::{Outcome, Store};
use crate::views::Views;

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    hasher: Hasher,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    views: Views,
}

impl App {
    /// The use cases over a database.
    pub(crate) fn new(store: Store, hasher: Hasher, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { store, hasher, clock, ids, views: Views::default() }
    }

    /// With the views that all cores of the process share.
    #[must_use]
    pub(crate) fn with_views(mut self, views: Views) -> Self {
        self.views = views;
        self
    }

    /// The time, as exact as a row keeps it: the first answer shows what every later read does.
    pub(crate) fn now(&self) -> OffsetDateTime {
        let now = self.clock.now();
        now.replace_millisecond(now.millisecond()).unwrap_or(now)
    }

    /// What a request id was answered first.
    async fn first_answer<T: Outcome>(&self, call: &Call) -> Result<Option<Answer<T>>> {
        let saved = self.store.request_fetch(&call.key).await?;
        saved.map(|saved| saved.replay(call)).transpose()
    }

    /// A new id.
    pub(crate) fn next_id<T: From<uuid::Uuid>>(&self) -> T {
        self.ids.next().into()
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("store", &self.store).finish_non_exhaustive()
    }
}

/// What a call under a request id comes to whose tries are used up by conflicts: another call with the id may have got
/// through meanwhile, and then its answer is this one's as well. Else that call may still be at it, so nobody can say
/// that nothing changes.
async fn or_first_answer<T, F>(outcome: Result<T>, first: impl FnOnce() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    match outcome {
        Err(error) if error.is_contention() => Ok(first().await?.ok_or(Failure::RequestInProgress)?),
        outcome => outcome,
    }
}
