//! Letting a deactivated user in again.

use types::{Answer, Call, UserId};

use super::answer::first_whole;
use crate::app::{App, or_first_answer};
use crate::domain::user::{UserRefused, WholeUser};
use crate::domain::user_change::What;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Who shall be active again.
#[derive(Debug)]
pub(crate) struct ReactivateUser {
    pub(crate) user_id: UserId,
    pub(crate) etag: Option<i64>,
}

impl App {
    /// Reactivates a user; the caller is an admin. Sessions that have ended stay ended.
    pub(crate) async fn reactivate_user(
        &self,
        call: &Call,
        wish: ReactivateUser,
    ) -> Result<Answer<WholeUser>> {
        let reactivated =
            self.store.transaction("reactivate_user", |tx| self.reactivate_user_in(tx, call, &wish));
        or_first_answer(reactivated.await, || self.first_answer(call)).await
    }

    async fn reactivate_user_in(
        &self,
        mut tx: Tx,
        call: &Call,
        wish: &ReactivateUser,
    ) -> Result<Finished<Answer<WholeUser>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let now = self.now();
        let before = tx.user_fetch(wish.user_id).await?.ok_or(UserRefused::NotFound(wish.user_id))?;
        let mut user = before.reactivated(now)?;
        before.require_version(wish.etag)?;
        self.record(&mut tx, call, &mut user, What::Reactivated)?;
        tx.user_update(&before, &user)?;
        tx.event_append(&self.user_reactivated(&user, call.key.request_id))?;
        let answer = first_whole(&mut tx, call, user, now).await?;
        Ok(tx.commit(answer))
    }
}
