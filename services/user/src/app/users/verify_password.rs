//! Checking a password, for session service's Login.

use types::{Role, UserId};
use uuid::Uuid;

use crate::app::App;
use crate::domain::email::Email;
use crate::domain::password::{Password, PasswordHash};
use crate::domain::user::{UserRefused, UserState};
use crate::error::Result;

/// What is compared: `None` for what nobody can have.
#[derive(Debug)]
pub(crate) struct VerifyPassword {
    pub(crate) email: Option<Email>,
    pub(crate) password: Option<Password>,
}

/// Who may log in, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
    /// A session made with a lower one than the present is dead, so that a login on its way does not outlive a
    /// change that ends sessions.
    pub(crate) auth_epoch: i64,
}

impl App {
    /// Whether the password is that of the user with this address. An unknown address takes the same look-ups as a
    /// known one, a hash of the present parameters, and the same answer; a deactivated user has the answer of an
    /// unknown one.
    pub(crate) async fn verify_password(&self, wish: VerifyPassword) -> Result<Login> {
        // What nobody can have as an address or a password needs no pretence: it tells nothing about anybody.
        let (Some(email), Some(password)) = (wish.email, wish.password) else {
            return Err(UserRefused::InvalidCredentials.into());
        };
        let user = self.store.user_fetch_by_email(email.key()).await?;
        let owner = user.as_ref().map_or(UserId::from_uuid(Uuid::nil()), |user| user.id);
        let hash = self.store.credential_fetch(owner).await?;
        let verdict = self.hasher.verify(password.clone(), hash.clone()).await?;
        let user = user.filter(|user| verdict.is_match && user.state == UserState::Active);
        let Some(user) = user else {
            return Err(UserRefused::InvalidCredentials.into());
        };
        if let (true, Some(hash)) = (verdict.is_outdated, hash) {
            self.rehash(user.id, &hash, password).await;
        }
        self.note_login(user.id).await;
        Ok(Login { user_id: user.id, role: user.role, auth_epoch: user.auth_epoch })
    }

    /// Keeps the time of the login. Nobody is kept out because it cannot be kept.
    async fn note_login(&self, user_id: UserId) {
        if let Err(error) = self.store.user_note_login(user_id, self.now()).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the time of a login was not kept");
        }
    }

    /// Brings a hash up to the present parameters while the password is at hand. If it fails, the next login tries
    /// again.
    async fn rehash(&self, user_id: UserId, before: &PasswordHash, password: Password) {
        let rehashed = async {
            let after = &self.hasher.hash(password).await?;
            let now = self.now();
            self.store
                .transaction("rehash", |mut tx| async move {
                    let is_done = tx.credential_rehash(user_id, before, after, now).await?;
                    Ok(tx.commit(is_done))
                })
                .await
        };
        if let Err(error) = rehashed.await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "a password hash keeps its old parameters until the next login");
        }
    }
}
