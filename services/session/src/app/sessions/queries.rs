//! Whose a token is, and the sessions of a user.

use auth::token::AccessToken;
use auth::{Person, Verified};
use types::{SessionId, UserId};

use super::may_act_for;
use crate::app::App;
use crate::domain::{Session, SessionRefused};
use crate::error::Result;

/// Whose sessions, and which page of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListSessions {
    pub(crate) user_id: UserId,
    pub(crate) page_size: u32,
    pub(crate) after: Option<SessionCursor>,
}

/// After which session a page begins: when it was made, in milliseconds since 1970, and its id.
pub(crate) type SessionCursor = (i64, SessionId);

/// Sessions, oldest first.
#[derive(Debug)]
pub(crate) struct SessionPage {
    pub(crate) sessions: Vec<Session>,
    pub(crate) next: Option<SessionCursor>,
}

impl App {
    /// Whose an access token is; `None` for a text that is no token. Counts as use of its session.
    pub(crate) async fn validate_session(&self, token: Option<AccessToken>) -> Result<Verified> {
        let token = token.ok_or(SessionRefused::InvalidCredentials)?;
        let verified = self.store.session_verify(&token).await?;
        Ok(verified.ok_or(SessionRefused::InvalidCredentials)?)
    }

    /// Lists the caller's sessions, or anybody's for an admin.
    pub(crate) async fn list_sessions(&self, caller: Person, wish: ListSessions) -> Result<SessionPage> {
        if !may_act_for(&caller, wish.user_id) {
            return Err(SessionRefused::PermissionDenied.into());
        }
        // A user has few sessions, so a page is cut here and not in Redis.
        let mut sessions = self.store.session_list(wish.user_id).await?;
        if let Some(after) = wish.after {
            sessions.retain(|session| cursor(session) > after);
        }
        let size = usize::try_from(wish.page_size).unwrap_or(usize::MAX);
        let more = sessions.len() > size;
        sessions.truncate(size);
        let next = sessions.last().filter(|_| more).map(cursor);
        Ok(SessionPage { sessions, next })
    }
}

fn cursor(session: &Session) -> SessionCursor {
    let millis = session.created_at.unix_timestamp_nanos() / 1_000_000;
    (i64::try_from(millis).unwrap_or(i64::MAX), session.id)
}
