//! Giving a user another role.

use time::OffsetDateTime;
use types::{Role, UserId};

use super::{Answer, App, Idempotency};
use crate::domain::user::Profile;
use crate::error::{Error, Result};
use crate::storage::{Keep, Outcome, Tx};

/// Which admin gives whom which role.
#[derive(Debug)]
pub(crate) struct ChangeUserRole {
    pub(crate) idempotency: Idempotency,
    pub(crate) caller: UserId,
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
    pub(crate) etag: Option<i64>,
}

impl App {
    /// Changes a user's role, which ends their sessions. The caller is an admin, and never changes the own role.
    pub(crate) async fn change_user_role(&self, request: ChangeUserRole) -> Result<Answer<Profile>> {
        let now = self.now();
        let outcome = self
            .store
            .transaction("change_user_role", (self, &request, now), |tx, (app, request, now)| {
                Box::pin(app.change_user_role_in(tx, request, *now))
            })
            .await;
        self.or_first_answer(outcome, &request.idempotency, Outcome::into_profile).await
    }

    async fn change_user_role_in(
        &self,
        tx: &mut Tx,
        request: &ChangeUserRole,
        now: OffsetDateTime,
    ) -> Result<Answer<Profile>> {
        let Idempotency { key, fingerprint } = &request.idempotency;
        if let Some(saved) = tx.request_fetch(key).await? {
            return saved.replay(key, fingerprint)?.into_profile().map(Answer::again);
        }
        if request.caller == request.user_id {
            return Err(Error::OwnRole);
        }
        let before = tx.user_fetch(request.user_id).await?.ok_or(Error::UserNotFound(request.user_id))?;
        let mut user = before.with_role(request.role, now)?;
        before.require_version(request.etag)?;
        if before.role == request.role {
            // Nothing changes, so nobody is logged out.
            user = before;
        } else {
            tx.user_update(&user)?;
            tx.event_append(&self.user_role_changed(&user, key.request_id))?;
        }
        let statistics = tx.statistics_fetch(user.id).await?;
        let profile = Profile { user, statistics };
        tx.request_insert(key, fingerprint, &Outcome::User(profile.clone()), now, Keep::ThirtyDays)?;
        Ok(Answer::first(profile))
    }
}
