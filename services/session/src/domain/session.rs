//! What a session is and how long it lives.

use std::time::Duration;

use time::OffsetDateTime;
use types::{Role, SessionId, UserId};

/// A session that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) user_id: UserId,
    pub(crate) client_name: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) used_at: OffsetDateTime,
    /// When it ends, unless it is used before.
    pub(crate) idle_until: OffsetDateTime,
    /// When it ends in any case.
    pub(crate) expires_at: OffsetDateTime,
}

/// A session to be made, for a user whose password was right.
#[derive(Debug, Clone)]
pub(crate) struct NewSession {
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
    /// The auth epoch when user service checked the password. A higher one means that the check is out of date.
    pub(crate) auth_epoch: i64,
    pub(crate) client_name: String,
}

/// What this service refuses for reasons of its own. Callers read the texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionRefused {
    /// Wrong, unknown, expired or revoked: the caller is not told which.
    #[error("the credentials are not valid")]
    InvalidCredentials,
    /// The address, or the source of the call, had too many of them.
    #[error("too many failed logins; wait before the next one")]
    LoginThrottled { retry_after: Duration },
    /// There is none, or it is another user's, which the caller must not learn.
    #[error("there is no such session")]
    SessionNotFound { session_id: SessionId },
    #[error("only an admin may do this for another user")]
    PermissionDenied,
}

/// How long sessions and what belongs to them live, and how many of them there may be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lifetimes {
    pub(crate) access: Duration,
    pub(crate) idle: Duration,
    pub(crate) absolute: Duration,
    /// The use of a session is written down at most this often.
    pub(crate) touch: Duration,
    pub(crate) sessions_per_user: u32,
    /// How many used refresh tokens a session may have. All are remembered, to notice a second use.
    pub(crate) rotated_max: u32,
    /// How long the answer to a `request_id` is kept.
    pub(crate) request: Duration,
    /// About how many events a stream keeps.
    pub(crate) stream_length: u32,
}

impl Lifetimes {
    /// Whether they fit together.
    ///
    /// # Errors
    /// The rule that is broken.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        // An access token proves that its session lives, so it must end before its session does for lack of use. Use is
        // written down only at intervals, so one interval is added.
        if self.access + self.touch > self.idle {
            return Err(
                "the access token's life and the touch interval together must not exceed the idle life",
            );
        }
        if self.idle > self.absolute {
            return Err("the idle life must not exceed the absolute life");
        }
        if self.sessions_per_user == 0 || self.rotated_max == 0 || self.stream_length == 0 {
            return Err("limits must be above zero");
        }
        Ok(())
    }
}
