//! Handing a post over: the post, both users' counts and the event in one transaction, guarded by the present author.

use auth::Person;
use types::{Answer, Call, Keep, PostId, Role, UserId};

use crate::app::{App, or_first_answer};
use crate::domain::post::{Post, PostRefused};
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Which post shall go to whom.
#[derive(Debug)]
pub(crate) struct TransferPost {
    pub(crate) post_id: PostId,
    /// Somebody else than the caller.
    pub(crate) to: UserId,
    pub(crate) etag: Option<i64>,
}

impl App {
    /// Hands a post of the caller to another active user.
    pub(crate) async fn transfer_post(
        &self,
        call: &Call,
        caller: Person,
        wish: TransferPost,
    ) -> Result<Answer<Post>> {
        let transferred =
            self.store.transaction("transfer_post", |tx| self.transfer_post_in(tx, call, caller, &wish));
        or_first_answer(transferred.await, || self.first_answer(call)).await
    }

    async fn transfer_post_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &TransferPost,
    ) -> Result<Finished<Answer<Post>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let before = tx.post_fetch(wish.post_id).await?.ok_or(PostRefused::NotFound(wish.post_id))?;
        before.require_author(caller.user_id, caller.role == Role::Admin)?;
        before.require_version(wish.etag)?;
        let now = self.now();
        let post = before.handed_over(wish.to, now);
        tx.post_hand_over(&before, &post);
        tx.user_post_count_add(wish.to, 1);
        tx.user_post_count_add(caller.user_id, -1);
        tx.event_append(&self.post_transferred(&post, caller.user_id, call.key.request_id))?;
        tx.request_insert(call, &post, now, Keep::ThirtyDays)?;
        tx.flush_for_active(&[wish.to, caller.user_id]).await?;
        Ok(tx.commit(Answer::first(post)))
    }
}
