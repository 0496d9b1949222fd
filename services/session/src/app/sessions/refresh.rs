//! Exchanging a refresh token for new tokens.
//!
//! A token that comes a second time ends its session, also when both come at once, and also when the first answer was
//! lost on its way: two may hold the token, and the owner cannot be told from a thief. The owner logs in again. This
//! needs all used tokens to be remembered, so a session can be refreshed only so often, and ends after that.

use auth::token::RefreshToken;

use crate::app::{App, headers};
use crate::domain::{Session, SessionRefused};
use crate::error::Result;
use crate::storage::{RefreshReply, Tokens};

impl App {
    /// New tokens for the session of this one; `None` for a text that is no token.
    pub(crate) async fn refresh_session(&self, token: Option<RefreshToken>) -> Result<(Session, Tokens)> {
        let token = token.ok_or(SessionRefused::InvalidCredentials)?;
        match self.store.session_refresh(&token, &headers(None)).await? {
            RefreshReply::Refreshed(refreshed) => Ok(*refreshed),
            RefreshReply::Unknown => Err(SessionRefused::InvalidCredentials.into()),
            RefreshReply::Reused { session_id, user_id } => {
                tracing::warn!(target: "audit", { user.id = %user_id, session.id = %session_id }, "a refresh token was used twice: its session ended");
                Err(SessionRefused::InvalidCredentials.into())
            }
            RefreshReply::UsedUp { session_id, user_id } => {
                tracing::warn!(target: "audit", { user.id = %user_id, session.id = %session_id }, "a session was refreshed as often as is allowed: it ended");
                Err(SessionRefused::InvalidCredentials.into())
            }
        }
    }
}
