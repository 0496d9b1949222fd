//! Changing the own e-mail address.

use auth::Person;
use types::{Answer, Call};

use super::answer::first_whole;
use super::passwords::{COMPARED_MOST, Secret, replaced_too_often};
use crate::app::{App, or_first_answer};
use crate::domain::email::Email;
use crate::domain::password::{Password, PasswordHash};
use crate::domain::user::{UserRefused, WholeUser};
use crate::domain::user_change::What;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// What the caller's address shall be.
#[derive(Debug)]
pub(crate) struct ChangeEmail {
    pub(crate) email: Email,
    /// The present one; `None` for what nobody can have.
    pub(crate) password: Option<Password>,
    pub(crate) etag: Option<i64>,
    pub(crate) secret: Secret,
}

impl App {
    /// Gives the caller another address. Whoever wants the one before may have it from then on.
    pub(crate) async fn change_email(
        &self,
        call: &Call,
        caller: Person,
        wish: ChangeEmail,
    ) -> Result<Answer<WholeUser>> {
        if let Some(answer) = self.first_answer(call).await? {
            return self.require_same_password(call, answer, wish.password, wish.secret).await;
        }
        for _ in 0..COMPARED_MOST {
            let present = self.present_hash(caller.user_id, wish.password.as_ref()).await?;
            let changed = self
                .store
                .transaction("change_email", |tx| self.change_email_in(tx, call, caller, &wish, &present));
            if let Some(answer) = or_first_answer(changed.await, || self.first_outcome(call)).await? {
                return self.require_same_password(call, answer, wish.password, wish.secret).await;
            }
        }
        Err(replaced_too_often())
    }

    /// `None` when the hash is not the one that the password was compared with.
    async fn change_email_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &ChangeEmail,
        present: &PasswordHash,
    ) -> Result<Finished<Option<Answer<WholeUser>>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(Some(saved.replay(call)?)));
        }
        if tx.credential_fetch(caller.user_id).await?.as_ref() != Some(present) {
            return Ok(tx.abandon(None));
        }
        let now = self.now();
        let before = tx.user_fetch(caller.user_id).await?.ok_or(UserRefused::NotFound(caller.user_id))?;
        let mut user = before.with_email(wish.email.clone(), now)?;
        before.require_version(wish.etag)?;
        let owner = tx.user_fetch_by_email(user.email.key()).await?;
        if owner.is_some_and(|owner| owner.id != user.id) {
            return Err(UserRefused::EmailTaken.into());
        }
        self.record(&mut tx, call, &mut user, What::Email)?;
        tx.user_update_email(&before, &user).await?;
        tx.event_append(&self.user_email_changed(&user, call.key.request_id))?;
        let answer = first_whole(&mut tx, call, user, now).await?;
        Ok(tx.commit(Some(answer)))
    }
}
