//! Ending one session.

use auth::Principal;
use types::{SessionId, UserId};

use super::{Answer, App, Request, headers, person};
use crate::error::{Error, Result};

/// Which session, whose.
#[derive(Debug)]
pub(crate) struct RevokeSession {
    pub(crate) session_id: SessionId,
    /// The caller's when `None`.
    pub(crate) user_id: Option<UserId>,
}

impl App {
    /// Ends a session of the caller, or of anybody for an admin.
    pub(crate) async fn revoke_session(
        &self,
        principal: &Principal,
        revoke: RevokeSession,
        request: Request,
    ) -> Result<Answer<()>> {
        let caller = person(principal)?;
        let user_id = revoke.user_id.unwrap_or(caller.user_id);
        // Before the claim: what is refused changes nothing, so its request id stays free.
        if user_id != caller.user_id && !principal.is_admin() {
            // As if it did not exist.
            return Err(Error::SessionNotFound { session_id: revoke.session_id.to_string() });
        }
        self.claim(caller, user_id, &request).await?;
        let headers = headers(Some(request.key.request_id));
        let outcome = self
            .store
            .session_revoke(user_id, revoke.session_id, &request.key, &request.fingerprint, &headers)
            .await;
        if matches!(outcome, Err(Error::SessionNotFound { .. })) {
            // Nothing happened, wherever the session would be: the request id stays free.
            self.unclaim(caller, user_id, &request).await?;
        }
        let ((), is_replay) = outcome?.answer(request.key.method, &request.fingerprint)?;
        if !is_replay {
            tracing::info!(target: "audit", { user.id = %user_id, session.id = %revoke.session_id,
                by = %caller.user_id }, "a session was revoked");
        }
        Ok(Answer { value: (), is_replay })
    }
}
