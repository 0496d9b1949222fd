//! The use cases of sessions. One file for each change; reads are in `queries.rs`.

mod login;
mod logins;
mod queries;
mod refresh;
mod revoke;
mod revoke_all;

pub(crate) use login::Login;
pub(crate) use logins::Logins;
pub(crate) use queries::{ListSessions, SessionCursor, SessionPage};
pub(crate) use revoke::RevokeSession;

use auth::Person;
use types::{Call, Role, UserId};

use super::App;
use crate::domain::Partition;
use crate::error::Result;

impl App {
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
