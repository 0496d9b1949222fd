//! Ending one session.

use auth::Person;
use types::{Answer, Call, SessionId, UserId};

use super::may_act_for;
use crate::app::{App, headers};
use crate::domain::SessionRefused;
use crate::error::{Error, Result};

/// Which session, and whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RevokeSession {
    pub(crate) session_id: SessionId,
    pub(crate) user_id: UserId,
}

impl App {
    /// Ends a session of the caller, or of anybody for an admin.
    pub(crate) async fn revoke_session(
        &self,
        call: &Call,
        caller: Person,
        wish: RevokeSession,
    ) -> Result<Answer<()>> {
        let RevokeSession { session_id, user_id } = wish;
        // Before the claim: what is refused changes nothing, so its request id stays free.
        if !may_act_for(&caller, user_id) {
            // As if it did not exist.
            return Err(SessionRefused::SessionNotFound { session_id }.into());
        }
        self.claim(call, &caller, user_id).await?;
        let answer = self.store.session_revoke(call, user_id, session_id, &headers(Some(call))).await;
        if matches!(answer, Err(Error::Session(SessionRefused::SessionNotFound { .. }))) {
            // Nothing happened, so the request id stays free here too.
            self.unclaim(call, &caller, user_id).await?;
        }
        let answer = answer?;
        if !answer.is_replay {
            tracing::info!(target: "audit", { user.id = %user_id, session.id = %session_id,
                by = %caller.user_id }, "a session was revoked");
        }
        Ok(answer)
    }
}
