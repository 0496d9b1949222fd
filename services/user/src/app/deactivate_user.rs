//! Deactivating a user.

use auth::Person;
use time::OffsetDateTime;
use types::{Role, UserId};

use super::{Answer, App, Idempotency};
use crate::domain::user::Profile;
use crate::error::{Error, Result};
use crate::storage::{Keep, Outcome, Tx};

/// Who deactivates whom.
#[derive(Debug)]
pub(crate) struct DeactivateUser {
    pub(crate) idempotency: Idempotency,
    pub(crate) caller: Person,
    pub(crate) user_id: UserId,
    pub(crate) etag: Option<i64>,
}

impl App {
    /// Deactivates a user, by the user or an admin. To anybody else the user is not there.
    pub(crate) async fn deactivate_user(&self, request: DeactivateUser) -> Result<Answer<Profile>> {
        let now = self.now();
        let outcome = self
            .store
            .transaction("deactivate_user", (self, &request, now), |tx, (app, request, now)| {
                Box::pin(app.deactivate_user_in(tx, request, *now))
            })
            .await;
        self.or_first_answer(outcome, &request.idempotency, Outcome::into_profile).await
    }

    async fn deactivate_user_in(
        &self,
        tx: &mut Tx,
        request: &DeactivateUser,
        now: OffsetDateTime,
    ) -> Result<Answer<Profile>> {
        let Idempotency { key, fingerprint } = &request.idempotency;
        if let Some(saved) = tx.request_fetch(key).await? {
            return saved.replay(key, fingerprint)?.into_profile().map(Answer::again);
        }
        let not_found = || Error::UserNotFound(request.user_id);
        if request.caller.user_id != request.user_id && request.caller.role != Role::Admin {
            return Err(not_found());
        }
        let before = tx.user_fetch(request.user_id).await?.ok_or_else(not_found)?;
        let user = before.deactivated(now)?;
        before.require_version(request.etag)?;
        tx.user_update(&user)?;
        tx.event_append(&self.user_deactivated(&user, key.request_id))?;
        let statistics = tx.statistics_fetch(user.id).await?;
        let profile = Profile { user, statistics };
        tx.request_insert(key, fingerprint, &Outcome::User(profile.clone()), now, Keep::ThirtyDays)?;
        Ok(Answer::first(profile))
    }
}
