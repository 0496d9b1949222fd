//! Ending all sessions of a user.

use auth::Principal;
use types::UserId;

use super::{Answer, App, Request, headers, person};
use crate::error::{Error, Result};

/// Whose.
#[derive(Debug)]
pub(crate) struct RevokeAllSessions {
    /// The caller's when `None`.
    pub(crate) user_id: Option<UserId>,
}

impl App {
    /// Ends all sessions of the caller, or of anybody for an admin; tells how many there were.
    pub(crate) async fn revoke_all_sessions(
        &self,
        principal: &Principal,
        revoke: RevokeAllSessions,
        request: Request,
    ) -> Result<Answer<u32>> {
        let caller = person(principal)?;
        let user_id = revoke.user_id.unwrap_or(caller.user_id);
        // Before the claim: what is refused changes nothing, so its request id stays free.
        if user_id != caller.user_id && !principal.is_admin() {
            return Err(Error::PermissionDenied);
        }
        self.claim(caller, user_id, &request).await?;
        let headers = headers(Some(request.key.request_id));
        let outcome =
            self.store.session_revoke_all(user_id, &request.key, &request.fingerprint, &headers).await?;
        let (value, is_replay) = outcome.answer(request.key.method, &request.fingerprint)?;
        if !is_replay {
            tracing::info!(target: "audit", { user.id = %user_id, count = value, by = %caller.user_id }, "all sessions were revoked");
        }
        Ok(Answer { value, is_replay })
    }
}
