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
pub(crate) use revoke_session::RevokeSession;
pub(crate) use start_over::{StartOver, oldest_mark};

use ::events::Headers;
use auth::Person;
use tokio_util::task::TaskTracker;
use types::{Call, Role, UserId};

use crate::clients::user::Users;
use crate::domain::Partition;
use crate::error::Result;
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

impl App {
    /// The use cases over this store and this user service. `tasks` is waited for before the process ends.
    pub(crate) fn new(store: Store, users: Users, admission: Admission, tasks: TaskTracker) -> Self {
        Self { store, users, admission, tasks }
    }

    /// Claims the request id in the caller's partition when the call's effect is in another one; see
    /// `request_claim.lua`.
    async fn claim(&self, call: &Call, caller: &Person, target: UserId) -> Result<()> {
        let home = Partition::of(caller.user_id);
        if home == Partition::of(target) {
            return Ok(());
        }
        self.store.request_claim(home, call).await
    }

    /// Takes back what [`Self::claim`] did, when the call had no effect.
    async fn unclaim(&self, call: &Call, caller: &Person, target: UserId) -> Result<()> {
        let home = Partition::of(caller.user_id);
        if home == Partition::of(target) {
            return Ok(());
        }
        self.store.request_release(home, call).await
    }
}

/// Whether the caller may see and end the sessions of a user.
fn may_act_for(caller: &Person, user_id: UserId) -> bool {
    caller.user_id == user_id || caller.role == Role::Admin
}

/// Where the events of a call come from.
fn headers(call: Option<&Call>) -> Headers {
    let traceparent = runtime::telemetry::current_traceparent();
    Headers { traceparent, tracestate: None, request_id: call.map(|call| call.key.request_id) }
}
