//! Writing a post.

use auth::Person;
use types::{Answer, Call, Keep};

use crate::app::{App, or_first_answer};
use crate::domain::post::Post;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// What the post shall say.
#[derive(Debug)]
pub(crate) struct CreatePost {
    pub(crate) title: String,
    pub(crate) body: String,
}

impl App {
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
}
