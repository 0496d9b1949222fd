//! Verifying access tokens. This is one GET, since the key of an access token exists exactly as long as the token is
//! good: the script that ends a session deletes the key as well.

use auth::token::AccessToken;
use auth::{Person, SessionVerifier, Verified, VerifyError};
use types::RETRY_AFTER;

use crate::domain::Partition;
use crate::error::{Error, Result};
use crate::storage::driver::{millis, time_of};
use crate::storage::{Store, keys, scripts};

impl Store {
    /// Whose a token is; `None` when it does not belong to a live session. Counts as use of the session.
    pub(crate) async fn session_verify(&self, token: &AccessToken) -> Result<Option<Verified>> {
        let key = keys::access(Partition::of_token(token.partition()), &keys::hex(&token.hash()));
        let Some(value) = self.redis.run::<Option<String>>(&redis::Cmd::get(&key)).await? else {
            return Ok(None);
        };
        let (verified, touch_at) = parse(&value).ok_or_else(|| Error::internal("a damaged access token"))?;
        // The clock of this process only decides when to ask. The script decides by the clock of Redis.
        if self.options.clock.now() < time_of(touch_at)? {
            return Ok(Some(verified));
        }
        let mut script = scripts::SESSION_TOUCH.key(key);
        script.arg(millis(self.options.lifetimes.touch)).arg(millis(self.options.lifetimes.idle));
        let lives: bool = self.redis.script(&script).await?;
        Ok(lives.then_some(verified))
    }
}

impl SessionVerifier for Store {
    async fn verify(&self, token: &AccessToken) -> Result<Verified, VerifyError> {
        match self.session_verify(token).await {
            Ok(verified) => verified.ok_or(VerifyError::Invalid),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a session cannot be verified now");
                Err(VerifyError::Unavailable { retry_after: RETRY_AFTER })
            }
        }
    }
}

/// `<session id> <user id> <role> <access until> <touch at>`, as `access_put` in `prelude.lua` writes it.
fn parse(value: &str) -> Option<(Verified, i64)> {
    let mut parts = value.split(' ');
    let session_id = parts.next()?.parse().ok()?;
    let user_id = parts.next()?.parse().ok()?;
    let role = parts.next()?.parse().ok()?;
    let expires_at = time_of(parts.next()?.parse().ok()?).ok()?;
    let touch_at = parts.next()?.parse().ok()?;
    let person = Person { user_id, role, session_id };
    parts.next().is_none().then_some((Verified { person, expires_at }, touch_at))
}
