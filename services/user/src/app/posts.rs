//! Posts: reading, writing and changing one, and handing one over: the post, both users' counts and the event in one transaction,
//! guarded by the present author.

use auth::Person;
use types::{Answer, Call, Keep, PostId, Role, UserId};

use super::{App, or_first_answer};
use crate::domain::post::{Post, PostRefused};
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// What the post shall say.
#[derive(Debug)]
pub(crate) struct CreatePost {
    pub(crate) title: String,
    pub(crate) body: String,
}

/// Which post shall say what; what is `None` stays.
#[derive(Debug)]
pub(crate) struct UpdatePost {
    pub(crate) post_id: PostId,
    pub(crate) title: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) etag: Option<i64>,
}

/// Which post shall go to whom.
#[derive(Debug)]
pub(crate) struct TransferPost {
    pub(crate) post_id: PostId,
    /// Somebody else than the caller.
    pub(crate) to: UserId,
    pub(crate) etag: Option<i64>,
}

impl App {
    /// A post.
    pub(crate) async fn get_post(&self, id: PostId) -> Result<Post> {
        Ok(self.store.post_fetch(id).await?.ok_or(PostRefused::NotFound(id))?)
    }

    /// Writes a post of the caller.
    pub(crate) async fn create_post(
        &self,
        call: &Call,
        caller: Person,
        wish: CreatePost,
    ) -> Result<Answer<Post>> {
        let now = self.now();
        let post = Post {
            id: self.next_id(),
            author_id: caller.user_id,
            title: wish.title,
            body: wish.body,
            version: 1,
            create_time: now,
            update_time: now,
        };
        let created = self.store.transaction("create_post", |tx| self.create_post_in(tx, call, &post));
        or_first_answer(created.await, || self.first_answer(call)).await
    }

    async fn create_post_in(&self, mut tx: Tx, call: &Call, post: &Post) -> Result<Finished<Answer<Post>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let now = post.create_time;
        tx.user_post_count_add(post.author_id, 1, now);
        tx.post_insert(post)?;
        tx.event_append(&self.post_created(post, call.key.request_id))?;
        tx.request_insert(call, post, now, Keep::ThirtyDays)?;
        tx.flush_for_active(&[post.author_id]).await?;
        Ok(tx.commit(Answer::first(post.clone())))
    }

    /// Changes a post, for its author or an admin.
    pub(crate) async fn update_post(
        &self,
        call: &Call,
        caller: Person,
        wish: UpdatePost,
    ) -> Result<Answer<Post>> {
        let updated =
            self.store.transaction("update_post", |tx| self.update_post_in(tx, call, caller, &wish));
        or_first_answer(updated.await, || self.first_answer(call)).await
    }

    async fn update_post_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &UpdatePost,
    ) -> Result<Finished<Answer<Post>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let before = tx.post_fetch(wish.post_id).await?.ok_or(PostRefused::NotFound(wish.post_id))?;
        if caller.role != Role::Admin {
            before.require_author(caller.user_id)?;
        }
        before.require_version(wish.etag)?;
        let now = self.now();
        let post = before.updated(wish.title.clone(), wish.body.clone(), now);
        tx.post_update(&before, &post);
        tx.event_append(&self.post_updated(&post, call.key.request_id))?;
        tx.request_insert(call, &post, now, Keep::ThirtyDays)?;
        Ok(tx.commit(Answer::first(post)))
    }

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
        before.require_author(caller.user_id)?;
        before.require_version(wish.etag)?;
        let now = self.now();
        let post = before.handed_over(wish.to, now);
        tx.post_update(&before, &post);
        tx.user_post_count_add(wish.to, 1, now);
        tx.user_post_count_add(caller.user_id, -1, now);
        tx.event_append(&self.post_transferred(&post, caller.user_id, call.key.request_id))?;
        tx.request_insert(call, &post, now, Keep::ThirtyDays)?;
        tx.flush_for_active(&[wish.to, caller.user_id]).await?;
        Ok(tx.commit(Answer::first(post)))
    }
}
