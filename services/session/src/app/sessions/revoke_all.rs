//! Ending all sessions of a user.

use auth::Person;
use types::{Answer, Call, UserId};

use super::may_act_for;
use crate::app::{App, headers};
use crate::domain::SessionRefused;
use crate::error::Result;

impl App {
    /// Ends all sessions of the caller, or of anybody for an admin; tells how many there were.
    pub(crate) async fn revoke_all_sessions(
        &self,
        call: &Call,
        caller: Person,
        user_id: UserId,
    ) -> Result<Answer<i32>> {
        // Before the claim: what is refused changes nothing, so its request id stays free.
        if !may_act_for(&caller, user_id) {
            return Err(SessionRefused::PermissionDenied.into());
        }
        self.claim(call, &caller, user_id).await?;
        let answer = self.store.session_revoke_all(call, user_id, &headers(Some(call))).await?;
        if !answer.is_replay {
            tracing::info!(target: "audit", { user.id = %user_id, count = answer.value, by = %caller.user_id }, "all sessions were revoked");
        }
        Ok(answer)
    }
}
