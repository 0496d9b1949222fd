//! Giving a user another password, for admins.

use types::{Answer, Call, UserId};

use super::answer::first_whole;
use super::passwords::{Secret, require_not_address};
use crate::app::{App, or_first_answer};
use crate::domain::password::{Password, PasswordHash};
use crate::domain::user::{UserRefused, WholeUser};
use crate::domain::user_change::What;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Whose password shall be what.
#[derive(Debug)]
pub(crate) struct ResetPassword {
    pub(crate) user_id: UserId,
    pub(crate) new_password: Password,
    pub(crate) etag: Option<i64>,
    pub(crate) secret: Secret,
}

impl App {
    /// Gives a user another password, which ends their sessions; the caller is an admin.
    pub(crate) async fn reset_password(&self, call: &Call, wish: ResetPassword) -> Result<Answer<WholeUser>> {
        let answer = if let Some(answer) = self.first_answer(call).await? {
            answer
        } else {
            let hash = self.hasher.hash(wish.new_password.clone()).await?;
            let reset =
                self.store.transaction("reset_password", |tx| self.reset_password_in(tx, call, &wish, &hash));
            or_first_answer(reset.await, || self.first_answer(call)).await?
        };
        self.require_same_password(call, answer, Some(wish.new_password), wish.secret).await
    }

    async fn reset_password_in(
        &self,
        mut tx: Tx,
        call: &Call,
        wish: &ResetPassword,
        hash: &PasswordHash,
    ) -> Result<Finished<Answer<WholeUser>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let now = self.now();
        let before = tx.user_fetch(wish.user_id).await?.ok_or(UserRefused::NotFound(wish.user_id))?;
        require_not_address(&wish.new_password, &before)?;
        let mut user = before.with_new_password(now)?;
        before.require_version(wish.etag)?;
        self.record(&mut tx, call, &mut user, What::PasswordReset)?;
        tx.user_update(&before, &user)?;
        tx.credential_update(user.id, hash, now);
        tx.event_append(&self.user_password_changed(&user, call.key.request_id))?;
        let answer = first_whole(&mut tx, call, user, now).await?;
        Ok(tx.commit(answer))
    }
}
