//! What callers can do. One file for each change; reads are in `queries.rs`.

mod admission;
mod events;
mod login;
mod queries;
mod refresh_session;
mod revoke_all_sessions;
mod revoke_session;
mod start_over;

pub(crate) use admission::Admission;
pub(crate) use events::{REVOCATIONS, Revocations};
pub(crate) use login::Login;
pub(crate) use queries::{ListSessions, SessionCursor, SessionPage};
pub(crate) use revoke_all_sessions::RevokeAllSessions;
pub(crate) use revoke_session::RevokeSession;
pub(crate) use start_over::{StartOver, oldest_mark};

use ::events::Headers;
use auth::{Person, Principal};
use tokio_util::task::TaskTracker;
use types::{Fingerprint, RequestKey, UserId};
use uuid::Uuid;

use crate::clients::user::Users;
use crate::domain::Partition;
use crate::error::{Error, Result};
use crate::storage::Store;

/// The use cases. Cheap to clone; belongs to the runtime that it was made in.
#[derive(Clone)]
pub(crate) struct App {
    store: Store,
    users: Users,
    admission: Admission,
    /// What outlives the call that began it; waited for at the end.
    tasks: TaskTracker,
}

/// A change that may be repeated.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) key: RequestKey,
    pub(crate) fingerprint: Fingerprint,
}

/// An answer, and whether it is the first one given once more.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    pub(crate) is_replay: bool,
}

impl App {
    /// The use cases over this store and this user service. `tasks` is waited for before the process ends.
    pub(crate) fn new(store: Store, users: Users, admission: Admission, tasks: TaskTracker) -> Self {
        Self { store, users, admission, tasks }
    }

    /// Claims the request where its principal lives, when its effect is elsewhere; see `request_claim.lua`.
    async fn claim(&self, person: &Person, target: UserId, request: &Request) -> Result<()> {
        let home = Partition::of(person.user_id);
        if home == Partition::of(target) {
            return Ok(());
        }
        let claimed = self.store.request_claim(home, &request.key, &request.fingerprint).await?;
        claimed.answer(request.key.method, &request.fingerprint).map(drop)
    }

    /// Takes back what [`Self::claim`] did, when nothing came of the request.
    async fn unclaim(&self, person: &Person, target: UserId, request: &Request) -> Result<()> {
        let home = Partition::of(person.user_id);
        if home == Partition::of(target) {
            return Ok(());
        }
        self.store.request_release(home, &request.key, &request.fingerprint).await
    }
}

/// The person that calls; methods here admit nobody else.
fn person(principal: &Principal) -> Result<&Person> {
    principal.person().ok_or(Error::PermissionDenied)
}

/// Where the events of a call come from.
fn headers(request_id: Option<Uuid>) -> Headers {
    Headers { traceparent: runtime::telemetry::current_traceparent(), tracestate: None, request_id }
}
