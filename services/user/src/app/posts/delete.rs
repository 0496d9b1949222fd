//! Deleting a post.

use auth::Person;
use types::{Answer, Call, Keep, PostId};

use super::require_editor;
use crate::app::{App, or_first_answer};
use crate::domain::post::{DeletedPost, PostMove, PostRefused};
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Which post shall be gone.
#[derive(Debug)]
pub(crate) struct DeletePost {
    pub(crate) post_id: PostId,
    pub(crate) etag: Option<i64>,
}

impl App {
    /// Deletes a post, for its author or an admin.
    pub(crate) async fn delete_post(
        &self,
        call: &Call,
        caller: Person,
        wish: DeletePost,
    ) -> Result<Answer<DeletedPost>> {
        let deleted =
            self.store.transaction("delete_post", |tx| self.delete_post_in(tx, call, caller, &wish));
        or_first_answer(deleted.await, || self.first_answer(call)).await
    }

    async fn delete_post_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &DeletePost,
    ) -> Result<Finished<Answer<DeletedPost>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let post = tx.post_fetch(wish.post_id).await?.ok_or(PostRefused::NotFound(wish.post_id))?;
        require_editor(&post, caller)?;
        post.require_version(wish.etag)?;
        let now = self.now();
        post.moved(PostMove::Delete, now)?;
        tx.post_remove(&post);
        tx.user_post_count_take(post.author_id, 1);
        tx.event_append(&self.post_deleted(&post, Some(call.key.request_id)))?;
        let answer = DeletedPost(post.id);
        tx.request_insert(call, &answer, now, Keep::ThirtyDays)?;
        Ok(tx.commit(Answer::first(answer)))
    }
}
