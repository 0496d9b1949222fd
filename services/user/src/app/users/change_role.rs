//! Giving a user another role.

use auth::Person;
use types::{Answer, Call, Role, UserId};

use super::answer::first_whole;
use crate::app::{App, or_first_answer};
use crate::domain::user::{UserRefused, WholeUser};
use crate::domain::user_change::What;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Who shall have which role.
#[derive(Debug)]
pub(crate) struct ChangeUserRole {
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
    pub(crate) etag: Option<i64>,
}

impl App {
    /// Changes a user's role, which ends their sessions. The caller is an admin, and never changes their own role.
    pub(crate) async fn change_user_role(
        &self,
        call: &Call,
        caller: Person,
        wish: ChangeUserRole,
    ) -> Result<Answer<WholeUser>> {
        let changed = self
            .store
            .transaction("change_user_role", |tx| self.change_user_role_in(tx, call, caller, &wish));
        or_first_answer(changed.await, || self.first_answer(call)).await
    }

    async fn change_user_role_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &ChangeUserRole,
    ) -> Result<Finished<Answer<WholeUser>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        if caller.user_id == wish.user_id {
            return Err(UserRefused::OwnRole.into());
        }
        let now = self.now();
        let before = tx.user_fetch(wish.user_id).await?.ok_or(UserRefused::NotFound(wish.user_id))?;
        let mut user = before.with_role(wish.role, now)?;
        before.require_version(wish.etag)?;
        if before.role == wish.role {
            // Nothing changes, so nobody is logged out.
            user = before;
        } else {
            let what = What::Role { before: before.role, after: wish.role };
            self.record(&mut tx, call, &mut user, what)?;
            tx.user_update(&before, &user)?;
            tx.event_append(&self.user_role_changed(&user, call.key.request_id))?;
        }
        let answer = first_whole(&mut tx, call, user, now).await?;
        Ok(tx.commit(answer))
    }
}
