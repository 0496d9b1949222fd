//! Deleting a user. What is left to do afterwards is in `erase.rs`.

use auth::Person;
use types::{Answer, Call, Keep, Role, UserId};

use super::passwords::{COMPARED_MOST, replaced_too_often};
use crate::app::{App, or_first_answer};
use crate::clients::order::OrderClient;
use crate::domain::leaving::{DeletedUser, Erasure, Holdings, left};
use crate::domain::password::{Password, PasswordHash};
use crate::domain::user::UserRefused;
use crate::domain::user_change::What;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Who shall be gone.
#[derive(Debug)]
pub(crate) struct DeleteUser {
    pub(crate) user_id: UserId,
    /// The present one of who deletes the own account; `None` for what nobody can have.
    pub(crate) password: Option<Password>,
    pub(crate) delete_posts: bool,
    pub(crate) etag: Option<i64>,
}

/// What one try of it is made with.
#[derive(Clone, Copy)]
struct Deletion<'a> {
    wish: &'a DeleteUser,
    holdings: &'a Holdings,
    /// What the password was compared with; `None` where none is asked for.
    present: Option<&'a PasswordHash>,
}

impl App {
    /// Deletes a user, by the user or an admin. To anybody else the user is not there.
    pub(crate) async fn delete_user(
        &self,
        orders: &OrderClient,
        call: &Call,
        caller: Person,
        wish: &DeleteUser,
    ) -> Result<Answer<DeletedUser>> {
        let user_id = wish.user_id;
        let holdings = async || orders.holdings(user_id).await;
        self.delete_user_with(holdings, call, caller, wish).await
    }

    /// The same, with what tells of the holdings of the user.
    pub(crate) async fn delete_user_with(
        &self,
        holdings: impl AsyncFnOnce() -> Result<Holdings>,
        call: &Call,
        caller: Person,
        wish: &DeleteUser,
    ) -> Result<Answer<DeletedUser>> {
        // The password is not compared again: it is gone with its user.
        if let Some(answer) = self.first_answer(call).await? {
            return Ok(answer);
        }
        let user_id = wish.user_id;
        let is_own = caller.user_id == user_id;
        if !is_own && caller.role != Role::Admin {
            return Err(UserRefused::NotFound(user_id).into());
        }
        let mut present = self.hash_asked_for(is_own, wish).await?;
        // Of nobody there is nothing to ask.
        let user = self.store.user_fetch(user_id).await?.ok_or(UserRefused::NotFound(user_id))?;
        user.require_there()?;
        let holdings = &holdings().await?;
        for _ in 0..COMPARED_MOST {
            let deletion = Deletion { wish, holdings, present: present.as_ref() };
            let deleted = self.store.transaction("delete_user", |tx| self.delete_user_in(tx, call, deletion));
            if let Some(answer) = or_first_answer(deleted.await, || self.first_outcome(call)).await? {
                return Ok(answer);
            }
            present = self.hash_asked_for(is_own, wish).await?;
        }
        Err(replaced_too_often())
    }

    /// The hash of the password, which whoever deletes the own account has to know.
    async fn hash_asked_for(&self, is_own: bool, wish: &DeleteUser) -> Result<Option<PasswordHash>> {
        if !is_own {
            return Ok(None);
        }
        self.present_hash(wish.user_id, wish.password.as_ref()).await.map(Some)
    }

    /// `None` when the hash is not the one that the password was compared with.
    async fn delete_user_in(
        &self,
        mut tx: Tx,
        call: &Call,
        deletion: Deletion<'_>,
    ) -> Result<Finished<Option<Answer<DeletedUser>>>> {
        let Deletion { wish, holdings, present } = deletion;
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(Some(saved.replay(call)?)));
        }
        if present.is_some() && tx.credential_fetch(wish.user_id).await?.as_ref() != present {
            return Ok(tx.abandon(None));
        }
        let now = self.now();
        let before = tx.user_fetch(wish.user_id).await?.ok_or(UserRefused::NotFound(wish.user_id))?;
        let mut user = before.deleted(now)?;
        before.require_version(wish.etag)?;
        let left = left(&tx.wallets_of(user.id).await?, holdings);
        if !left.is_empty() {
            return Err(UserRefused::HasBalance { user_id: user.id, left }.into());
        }
        // What is not there must not be there either when this has been answered, but for refunds.
        tx.wallet_claim_all(user.id).await?;
        self.record(&mut tx, call, &mut user, What::Deleted)?;
        tx.user_erase(&before, &user)?;
        tx.credential_delete(user.id);
        tx.erasure_insert(
            &Erasure { user_id: user.id, delete_posts: wish.delete_posts, is_second: false },
            now,
        )?;
        tx.event_append(&self.user_deleted(&user, call.key.request_id))?;
        let answer = DeletedUser(user.id);
        tx.request_insert(call, &answer, now, Keep::ThirtyDays)?;
        Ok(tx.commit(Some(Answer::first(answer))))
    }
}
