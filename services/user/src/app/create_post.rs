//! Writing a post.

use types::UserId;

use super::{Answer, App, Idempotency};
use crate::domain::post::Post;
use crate::error::Result;
use crate::storage::{Keep, Outcome, Tx};

/// Who writes what.
#[derive(Debug)]
pub(crate) struct CreatePost {
    pub(crate) idempotency: Idempotency,
    pub(crate) caller: UserId,
    pub(crate) title: String,
    pub(crate) body: String,
}

impl App {
    /// Writes a post of the caller.
    pub(crate) async fn create_post(&self, request: CreatePost) -> Result<Answer<Post>> {
        let now = self.now();
        let post = Post {
            id: self.next_id(),
            author_id: request.caller,
            title: request.title,
            body: request.body,
            version: 1,
            create_time: now,
            update_time: now,
        };
        let outcome = self
            .store
            .transaction(
                "create_post",
                (self, &request.idempotency, &post),
                |tx, (app, idempotency, post)| Box::pin(app.create_post_in(tx, idempotency, post)),
            )
            .await;
        self.or_first_answer(outcome, &request.idempotency, Outcome::into_post).await
    }

    async fn create_post_in(
        &self,
        tx: &mut Tx,
        idempotency: &Idempotency,
        post: &Post,
    ) -> Result<Answer<Post>> {
        let Idempotency { key, fingerprint } = idempotency;
        if let Some(saved) = tx.request_fetch(key).await? {
            return saved.replay(key, fingerprint)?.into_post().map(Answer::again);
        }
        let now = post.create_time;
        tx.user_post_count_add(post.author_id, 1, now);
        tx.post_insert(post)?;
        tx.event_append(&self.post_created(post, key.request_id))?;
        tx.request_insert(key, fingerprint, &Outcome::Post(post.clone()), now, Keep::ThirtyDays)?;
        Ok(Answer::first(post.clone()))
    }
}
