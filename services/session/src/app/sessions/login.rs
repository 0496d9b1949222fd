//! Logging in. A login is let in ([`crate::admission`]), counted by the throttle of its address, checked by user
//! service, and then gets a session.
//!
//! The try is counted before the password is checked and settled after it, so that many tries at once do not get around
//! the throttle. The check is a task of its own, which ends also when the caller goes away: the guess counts, and no
//! unsettled try is left behind that would keep the owner out. Addresses that nobody has are treated like all others.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::Instrument as _;
use types::{Effect, Failure, Source};

use crate::admission::Admitted;
use crate::app::{App, headers};
use crate::clients::user::KnownUser;
use crate::domain::{NewSession, Session, SessionRefused, may_be_email, throttle_key};
use crate::error::{Error, Result};
use crate::storage::{CreateReply, Tokens};

/// How often a password is checked in all, when the user changes between the check and the new session.
const CHECKS_MAX: usize = 2;

/// The most characters that user service accepts in a new password: a longer one cannot be right.
const PASSWORD_CHARS_MAX: usize = 128;

/// Who wants to log in, and with which client.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) email: String,
    pub(crate) password: SecretString,
    pub(crate) client_name: String,
}

impl Login {
    fn may_succeed(&self) -> bool {
        may_be_email(&self.email) && self.password.expose_secret().chars().count() <= PASSWORD_CHARS_MAX
    }
}

impl App {
    /// Makes a session for whoever knows the password. `source` is where the call comes from.
    pub(crate) async fn login(&self, source: Source, login: Login) -> Result<(Session, Tokens)> {
        let outcome = self.log_in(source, login).await;
        self.logins.count(&outcome);
        outcome
    }

    async fn log_in(&self, source: Source, login: Login) -> Result<(Session, Tokens)> {
        // What cannot be anybody's is no guess, and must not fill Redis with counts of failures.
        if !login.may_succeed() {
            tracing::info!(target: "audit", "a login failed");
            return Err(SessionRefused::InvalidCredentials.into());
        }
        let admitted = self.admission.admit(source)?;
        let login = Arc::new(login);
        let (right, hears) = oneshot::channel();
        let check = self.check_to_the_end(source, &login, admitted, right);
        let Ok(known) = hears.await else {
            check.await.map_err(Error::internal)??;
            return Err(Error::internal("a check succeeded and named no user"));
        };
        // The throttle notes the success while the session is made, so both take the time of one exchange with Redis.
        let (created, noted) = tokio::join!(self.create(known, &login), check);
        // The session may have been made meanwhile.
        noted.map_err(Error::internal)?.map_err(|error| error.with_effect(Effect::Unknown))?;
        let mut created = created?;
        for _ in 1..CHECKS_MAX {
            if created.is_some() {
                break;
            }
            // The role changed or the user was deactivated since the check, so the answer of user service is out of
            // date.
            let known = self.users.password_verify(&login.email, &login.password).await?;
            created = self.create(known, &login).await?;
        }
        created.ok_or_else(|| {
            Failure::contention("the user was changed again and again while the login was on its way").into()
        })
    }

    /// Checks the password under the throttle, and sends the user to `right` as soon as it turns out right. The task
    /// goes on when the caller goes away.
    fn check_to_the_end(
        &self,
        source: Source,
        login: &Arc<Login>,
        admitted: Admitted,
        right: oneshot::Sender<KnownUser>,
    ) -> JoinHandle<Result<()>> {
        let (app, login) = (self.clone(), Arc::clone(login));
        let check = async move { app.check(source, &login, admitted, right).await };
        self.tasks.spawn(check.in_current_span())
    }

    async fn check(
        &self,
        source: Source,
        login: &Login,
        admitted: Admitted,
        right: oneshot::Sender<KnownUser>,
    ) -> Result<()> {
        let attempt = self.store.login_begin(&throttle_key(&login.email), source).await?;
        fault::point!("login.counted", "session");
        let checked = self.users.password_verify(&login.email, &login.password).await;
        fault::point!("login.checked", "session");
        match checked {
            Ok(known) => {
                // When the caller has gone away, nobody receives this, and no session is made.
                let _ = right.send(known);
                self.store.login_succeeded(&attempt).await
            }
            Err(wrong @ Error::Session(SessionRefused::InvalidCredentials)) => {
                admitted.failed();
                self.store.login_failed(&attempt).await?;
                tracing::info!(target: "audit", "a login failed");
                Err(wrong)
            }
            // The password was not checked.
            Err(error) => {
                self.store.login_released(&attempt).await?;
                Err(error)
            }
        }
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
