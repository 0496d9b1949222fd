//! Changing the own password.

use auth::Person;
use types::{Answer, Call};

use super::answer::first_whole;
use super::passwords::{COMPARED_MOST, Secret, replaced_too_often, require_not_address};
use crate::app::{App, or_first_answer};
use crate::domain::password::{Password, PasswordHash};
use crate::domain::user::{UserRefused, WholeUser};
use crate::domain::user_change::What;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// What the caller's password shall be.
#[derive(Debug)]
pub(crate) struct ChangePassword {
    /// The present one; `None` for what nobody can have.
    pub(crate) password: Option<Password>,
    pub(crate) new_password: Password,
    pub(crate) etag: Option<i64>,
    pub(crate) secret: Secret,
}

impl App {
    /// Gives the caller another password, which ends their sessions.
    pub(crate) async fn change_password(
        &self,
        call: &Call,
        caller: Person,
        wish: ChangePassword,
    ) -> Result<Answer<WholeUser>> {
        let ChangePassword { password, new_password, etag, secret } = wish;
        if let Some(answer) = self.first_answer(call).await? {
            return self.require_same_password(call, answer, Some(new_password), secret).await;
        }
        let mut present = self.present_hash(caller.user_id, password.as_ref()).await?;
        let hash = self.hasher.hash(new_password.clone()).await?;
        for _ in 0..COMPARED_MOST {
            let change = PasswordChange { etag, new_password: &new_password, present: &present, hash: &hash };
            let changed = self
                .store
                .transaction("change_password", |tx| self.change_password_in(tx, call, caller, change));
            if let Some(answer) = or_first_answer(changed.await, || self.first_outcome(call)).await? {
                return self.require_same_password(call, answer, Some(new_password), secret).await;
            }
            present = self.present_hash(caller.user_id, password.as_ref()).await?;
        }
        Err(replaced_too_often())
    }

    /// `None` when the hash is not the one that the present password was compared with.
    async fn change_password_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        change: PasswordChange<'_>,
    ) -> Result<Finished<Option<Answer<WholeUser>>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(Some(saved.replay(call)?)));
        }
        if tx.credential_fetch(caller.user_id).await?.as_ref() != Some(change.present) {
            return Ok(tx.abandon(None));
        }
        let now = self.now();
        let before = tx.user_fetch(caller.user_id).await?.ok_or(UserRefused::NotFound(caller.user_id))?;
        require_not_address(change.new_password, &before)?;
        let mut user = before.with_new_password(now)?;
        before.require_version(change.etag)?;
        self.record(&mut tx, call, &mut user, What::Password)?;
        tx.user_update(&before, &user)?;
        tx.credential_update(user.id, change.hash, now);
        tx.event_append(&self.user_password_changed(&user, call.key.request_id))?;
        let answer = first_whole(&mut tx, call, user, now).await?;
        Ok(tx.commit(Some(answer)))
    }
}

/// What one try of the change is made with.
#[derive(Clone, Copy)]
struct PasswordChange<'a> {
    etag: Option<i64>,
    new_password: &'a Password,
    present: &'a PasswordHash,
    hash: &'a PasswordHash,
}
