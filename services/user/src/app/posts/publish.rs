//! Publishing and archiving a post.

use auth::Person;
use events::NewEvent;
use types::{Answer, Call, Keep, PostId};
use uuid::Uuid;

use super::require_editor;
use crate::app::{App, or_first_answer};
use crate::domain::post::{Post, PostMove, PostRefused};
use crate::error::{Error, Result};
use crate::storage::{Finished, Tx};

/// Which post shall change its state.
#[derive(Debug)]
pub(crate) struct MovePost {
    pub(crate) post_id: PostId,
    pub(crate) etag: Option<i64>,
}

/// What tells of a move, by the post before and after it.
type Told = fn(&App, &Post, &Post, Uuid) -> NewEvent;

impl App {
    /// Makes a post one that everybody reads, for its author or an admin.
    pub(crate) async fn publish_post(
        &self,
        call: &Call,
        caller: Person,
        wish: MovePost,
    ) -> Result<Answer<Post>> {
        let work = |tx| self.move_post_in(tx, call, caller, &wish, (PostMove::Publish, Self::post_published));
        let published = self.store.transaction("publish_post", work);
        or_first_answer(published.await, || self.first_answer(call)).await
    }

    /// Takes a post from the public, for its author or an admin.
    pub(crate) async fn archive_post(
        &self,
        call: &Call,
        caller: Person,
        wish: MovePost,
    ) -> Result<Answer<Post>> {
        let told: Told = |app, _, post, request_id| app.post_archived(post, request_id);
        let work = |tx| self.move_post_in(tx, call, caller, &wish, (PostMove::Archive, told));
        let archived = self.store.transaction("archive_post", work);
        or_first_answer(archived.await, || self.first_answer(call)).await
    }

    async fn move_post_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &MovePost,
        (step, told): (PostMove, Told),
    ) -> Result<Finished<Answer<Post>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let before = tx.post_fetch(wish.post_id).await?.ok_or(PostRefused::NotFound(wish.post_id))?;
        require_editor(&before, caller)?;
        before.require_version(wish.etag)?;
        let now = self.now();
        let post = before.moved(step, now)?;
        let post = post.ok_or_else(|| Error::internal("a post that moves is still there"))?;
        tx.post_update(&before, &post)?;
        tx.event_append(&told(self, &before, &post, call.key.request_id))?;
        tx.request_insert(call, &post, now, Keep::ThirtyDays)?;
        Ok(tx.commit(Answer::first(post)))
    }
}
