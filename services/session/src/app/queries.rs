//! Reads.

use auth::token::AccessToken;
use auth::{Principal, Verified};
use types::{SessionId, UserId};

use super::{App, person};
use crate::domain::Session;
use crate::error::{Error, Result};

/// Which sessions, from where.
#[derive(Debug)]
pub(crate) struct ListSessions {
    /// The caller's when `None`.
    pub(crate) user_id: Option<UserId>,
    pub(crate) page_size: u32,
    pub(crate) after: Option<SessionCursor>,
}

/// After which session the next page begins.
pub(crate) type SessionCursor = (i64, SessionId);

/// Sessions, oldest first.
#[derive(Debug)]
pub(crate) struct SessionPage {
    pub(crate) sessions: Vec<Session>,
    pub(crate) next: Option<SessionCursor>,
    /// The one that asks.
    pub(crate) current: SessionId,
}

impl App {
    /// Whose an access token is. Counts as use of its session.
    pub(crate) async fn validate_session(&self, token: &AccessToken) -> Result<Verified> {
        self.store.session_verify(token).await?.ok_or(Error::InvalidCredentials)
    }

    /// Lists the caller's sessions, or anybody's for an admin.
    pub(crate) async fn list_sessions(
        &self,
        principal: &Principal,
        list: ListSessions,
    ) -> Result<SessionPage> {
        let caller = person(principal)?;
        let user_id = list.user_id.unwrap_or(caller.user_id);
        if user_id != caller.user_id && !principal.is_admin() {
            return Err(Error::PermissionDenied);
        }
        // A user has few sessions, so a page is cut here and not in Redis.
        let mut sessions = self.store.session_list(user_id).await?;
        if let Some(after) = list.after {
            sessions.retain(|session| cursor(session) > after);
        }
        let size = usize::try_from(list.page_size).unwrap_or(usize::MAX);
        let more = sessions.len() > size;
        sessions.truncate(size);
        let next = sessions.last().filter(|_| more).map(cursor);
        Ok(SessionPage { sessions, next, current: caller.session_id })
    }
}

fn cursor(session: &Session) -> SessionCursor {
    let millis = session.created_at.unix_timestamp_nanos() / 1_000_000;
    (i64::try_from(millis).unwrap_or(i64::MAX), session.id)
}
