//! Logging in: the address' throttle, then user service's word, then a session.
//!
//! The try is counted before the password is checked and settled after it, so that many tries at once are no way
//! around the throttle. Whether the address is known makes no difference to anything here.

use secrecy::SecretString;

use super::{App, headers};
use crate::clients::user::KnownUser;
use crate::domain::{NewSession, Session, throttle_key};
use crate::error::{Error, Result};
use crate::storage::{CreateReply, Tokens, Try};

/// How often a password is checked anew because the user changed in between.
const CHECKS_MAX: usize = 2;

/// Who wants to log in, and from what.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) email: String,
    pub(crate) password: SecretString,
    pub(crate) client_name: String,
}

impl App {
    /// Makes a session for whoever knows the password.
    pub(crate) async fn login(&self, login: Login) -> Result<(Session, Tokens)> {
        let attempt = self.store.login_begin(throttle_key(&login.email)).await?;
        let mut known = self.check(&login, &attempt).await?;
        self.store.login_succeeded(&attempt).await?;
        for _ in 1..CHECKS_MAX {
            if let Some(created) = self.create(known, &login).await? {
                return Ok(created);
            }
            // A change of role or a deactivation came in between: what user service said is out of date.
            known = self.users.password_verify(&login.email, &login.password).await?;
        }
        self.create(known, &login).await?.ok_or(Error::Contention)
    }

    async fn check(&self, login: &Login, attempt: &Try) -> Result<KnownUser> {
        let checked = self.users.password_verify(&login.email, &login.password).await;
        match &checked {
            Ok(_) => {}
            Err(Error::InvalidCredentials) => {
                self.store.login_failed(attempt).await?;
                tracing::info!(target: "audit", "a login failed");
            }
            // Nobody looked at the password.
            Err(_) => self.store.login_released(attempt).await?,
        }
        checked
    }

    async fn create(&self, known: KnownUser, login: &Login) -> Result<Option<(Session, Tokens)>> {
        let new = NewSession {
            user_id: known.user_id,
            role: known.role,
            auth_epoch: known.auth_epoch,
            client_name: login.client_name.clone(),
        };
        match self.store.session_create(new, &headers(None)).await? {
            CreateReply::Created(created) => {
                tracing::info!(target: "audit", { user.id = %known.user_id, session.id = %created.0.id }, "logged in");
                Ok(Some(*created))
            }
            CreateReply::Stale => Ok(None),
        }
    }
}
