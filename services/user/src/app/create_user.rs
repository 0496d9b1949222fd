//! Signing up.

use std::sync::Arc;

use super::{Answer, App, Idempotency};
use crate::domain::email::Email;
use crate::domain::password::{Password, PasswordHash};
use crate::domain::user::{OrderStatistics, Profile, User};
use crate::error::{Error, Result};
use crate::storage::{Keep, Outcome, Saved};

/// The request's field that is left out of its fingerprint, since people choose passwords and a hash of one can be
/// guessed. A repeat's password is compared with the stored hash instead.
pub(crate) const PASSWORD_FIELD: u32 = 4;

/// Who signs up.
#[derive(Debug)]
pub(crate) struct CreateUser {
    pub(crate) idempotency: Idempotency,
    pub(crate) email: Email,
    pub(crate) display_name: String,
    pub(crate) password: Password,
}

/// What a transaction needs, whichever try it is.
struct Draft {
    app: App,
    idempotency: Idempotency,
    user: User,
    hash: PasswordHash,
}

impl App {
    /// Signs a person up as a customer: nobody chooses a role here.
    pub(crate) async fn create_user(&self, request: CreateUser) -> Result<Answer<Profile>> {
        let CreateUser { idempotency, email, display_name, password } = request;
        if let Some(saved) = self.store.request_fetch(&idempotency.key).await? {
            return self.create_user_again(saved, &idempotency, password).await;
        }
        let hash = self.hasher.hash(password.clone()).await?;
        let user = User::sign_up(self.next_id(), email, display_name, self.now());
        let draft = Arc::new(Draft { app: self.clone(), idempotency, user, hash });
        let inserted = self
            .store
            .transaction("create_user", Arc::clone(&draft), |tx, draft| {
                Box::pin(async move {
                    let Draft { app, idempotency, user, hash } = draft.as_ref();
                    if let Some(saved) = tx.request_fetch(&idempotency.key).await? {
                        return Ok(Err(saved));
                    }
                    let profile = Profile { user: user.clone(), statistics: OrderStatistics::default() };
                    let now = user.create_time;
                    let outcome = Outcome::User(profile.clone());
                    let Idempotency { key, fingerprint } = idempotency;
                    tx.request_insert(key, fingerprint, &outcome, now, Keep::ThirtyDays)?;
                    tx.user_insert(user)?;
                    tx.credential_insert(user.id, hash, now)?;
                    tx.event_append(&app.user_created(user, Some(key.request_id)))?;
                    Ok(Ok(profile))
                })
            })
            .await;
        let saved = match inserted {
            Ok(Ok(profile)) => return Ok(Answer::first(profile)),
            Ok(Err(saved)) => saved,
            Err(Error::Contention) => {
                let saved = self.store.request_fetch(&draft.idempotency.key).await?;
                saved.ok_or(Error::RequestInProgress)?
            }
            Err(error) => return Err(error),
        };
        self.create_user_again(saved, &draft.idempotency, password).await
    }

    /// A repeat says the same only if the password is the same.
    async fn create_user_again(
        &self,
        saved: Saved,
        idempotency: &Idempotency,
        password: Password,
    ) -> Result<Answer<Profile>> {
        let profile = saved.replay(&idempotency.key, &idempotency.fingerprint)?.into_profile()?;
        let hash = self.store.credential_fetch(profile.user.id).await?;
        if self.hasher.verify(password, hash).await?.is_match {
            return Ok(Answer::again(profile));
        }
        Err(Error::RequestIdReused { method: idempotency.key.method, fields: vec![PASSWORD_FIELD] })
    }
}
