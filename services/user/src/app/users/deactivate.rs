//! Deactivating a user.

use auth::Person;
use types::{Answer, Call, Role, UserId};

use super::answer::first_whole;
use crate::app::{App, or_first_answer};
use crate::domain::user::{UserRefused, WholeUser};
use crate::domain::user_change::What;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Who shall be deactivated.
#[derive(Debug)]
pub(crate) struct DeactivateUser {
    pub(crate) user_id: UserId,
    pub(crate) etag: Option<i64>,
}

impl App {
    /// Deactivates a user, by the user or an admin. To anybody else the user is not there.
    pub(crate) async fn deactivate_user(
        &self,
        call: &Call,
        caller: Person,
        wish: DeactivateUser,
    ) -> Result<Answer<WholeUser>> {
        let deactivated =
            self.store.transaction("deactivate_user", |tx| self.deactivate_user_in(tx, call, caller, &wish));
        or_first_answer(deactivated.await, || self.first_answer(call)).await
    }

    async fn deactivate_user_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &DeactivateUser,
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
        let mut user = before.deactivated(now)?;
        before.require_version(wish.etag)?;
        // A payment that began when the user was active must not end when this has been answered.
        tx.wallet_claim_all(user.id).await?;
        self.record(&mut tx, call, &mut user, What::Deactivated)?;
        tx.user_update(&before, &user)?;
        tx.event_append(&self.user_deactivated(&user, call.key.request_id))?;
        let answer = first_whole(&mut tx, call, user, now).await?;
        Ok(tx.commit(answer))
    }
}
