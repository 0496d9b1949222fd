//! Ending sessions before they expire.

use events::Headers;
use types::{Answer, Call, SessionId, UserId};

use crate::domain::{Partition, SessionRefused};
use crate::error::Result;
use crate::storage::backbone::{self, Cause};
use crate::storage::driver::{Reply, millis};
use crate::storage::requests::reused;
use crate::storage::{Store, keys, scripts};

impl Store {
    /// Ends one session, because its user or an admin asked for it.
    pub(crate) async fn session_revoke(
        &self,
        call: &Call,
        user_id: UserId,
        session_id: SessionId,
        headers: &Headers,
    ) -> Result<Answer<()>> {
        let partition = Partition::of(user_id);
        let mut script = self.event_append_script(&scripts::SESSION_REVOKE, partition, headers);
        script
            .key(keys::user(user_id))
            .key(keys::sessions(user_id))
            .key(keys::session(partition, session_id))
            .key(keys::request(partition, &call.key))
            .arg(user_id.to_string())
            .arg(session_id.to_string())
            .arg(call.fingerprint.as_bytes())
            .arg(millis(self.options.lifetimes.request))
            .arg(self.event_id().to_string())
            .arg(backbone::revoked(session_id, user_id, Cause::Asked));
        let mut reply: Reply = self.event_append("revoke_session", partition, &script).await?;
        match reply.next::<String>()?.as_str() {
            "OTHER" => Err(reused(call, &mut reply)),
            "REPLAY" => Ok(Answer::replay(())),
            "NOT_FOUND" => Err(SessionRefused::SessionNotFound { session_id }.into()),
            _ => Ok(Answer::first(())),
        }
    }

    /// Ends all sessions of a user, because the user or an admin asked for it. The answer is how many there were.
    pub(crate) async fn session_revoke_all(
        &self,
        call: &Call,
        user_id: UserId,
        headers: &Headers,
    ) -> Result<Answer<i32>> {
        let partition = Partition::of(user_id);
        let mut script = self.event_append_script(&scripts::SESSION_REVOKE_ALL, partition, headers);
        script
            .key(keys::user(user_id))
            .key(keys::sessions(user_id))
            .key(keys::request(partition, &call.key))
            .arg(user_id.to_string())
            .arg(call.fingerprint.as_bytes())
            .arg(millis(self.options.lifetimes.request))
            .arg(self.event_id().to_string())
            .arg(backbone::all_revoked(user_id, 0));
        let mut reply: Reply = self.event_append("revoke_all_sessions", partition, &script).await?;
        match reply.next::<String>()?.as_str() {
            "OTHER" => Err(reused(call, &mut reply)),
            "REPLAY" => Ok(Answer::replay(reply.next()?)),
            _ => Ok(Answer::first(reply.next()?)),
        }
    }

    /// Ends the sessions that were made with a lower auth epoch, and refuses logins that still come with one. Returns
    /// how many ended. Harmless when it comes late or twice.
    pub(crate) async fn session_revoke_below(
        &self,
        user_id: UserId,
        auth_epoch: i64,
        headers: &Headers,
    ) -> Result<u32> {
        let partition = Partition::of(user_id);
        let mut script = self.event_append_script(&scripts::SESSION_REVOKE_BELOW, partition, headers);
        script
            .key(keys::user(user_id))
            .key(keys::sessions(user_id))
            .arg(user_id.to_string())
            .arg(auth_epoch)
            .arg(self.event_id().to_string())
            .arg(backbone::all_revoked(user_id, auth_epoch));
        self.event_append("revoke_below", partition, &script).await
    }
}
