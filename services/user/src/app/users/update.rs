//! Changing what a user says of themselves.

use auth::Person;
use types::{Answer, Call, Role, UserId};

use super::answer::first_whole;
use crate::app::{App, or_first_answer};
use crate::domain::user::{UserChange, UserRefused, WholeUser};
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Who shall say what.
#[derive(Debug)]
pub(crate) struct UpdateUser {
    pub(crate) user_id: UserId,
    pub(crate) change: UserChange,
    pub(crate) etag: Option<i64>,
}

impl App {
    /// Changes a user, by the user or an admin. To anybody else the user is not there.
    pub(crate) async fn update_user(
        &self,
        call: &Call,
        caller: Person,
        wish: UpdateUser,
    ) -> Result<Answer<WholeUser>> {
        let updated =
            self.store.transaction("update_user", |tx| self.update_user_in(tx, call, caller, &wish));
        or_first_answer(updated.await, || self.first_answer(call)).await
    }

    async fn update_user_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &UpdateUser,
    ) -> Result<Finished<Answer<WholeUser>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let not_found = UserRefused::NotFound(wish.user_id);
        if caller.user_id != wish.user_id && caller.role != Role::Admin {
            return Err(not_found.into());
        }
        let now = self.now();
        let before = tx.user_fetch(wish.user_id).await?.ok_or(not_found)?;
        let user = before.updated(wish.change.clone(), now)?;
        before.require_version(wish.etag)?;
        tx.user_update(&before, &user)?;
        if let Some(username) = user.username.as_ref().filter(|_| user.username != before.username) {
            tx.username_claim(username, user.id, now).await?;
        }
        tx.event_append(&self.user_updated(&user, call.key.request_id))?;
        let answer = first_whole(&mut tx, call, user, now).await?;
        Ok(tx.commit(answer))
    }
}
