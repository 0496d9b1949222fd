//! Writing a post.

use time::OffsetDateTime;
use types::UserId;

use super::{Answer, App, Idempotency};
use crate::domain::post::Post;
use crate::error::{Error, Result};
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
        self.store
            .transaction(
                "create_post",
                (self, &request.idempotency, &post),
                |tx, (app, idempotency, post)| Box::pin(app.create_post_in(tx, idempotency, post)),
            )
            .await
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
        self.post_count_add(tx, post.author_id, 1, now).await?;
        tx.post_insert(post).await?;
        tx.event_append(&self.post_created(post, key.request_id)).await?;
        tx.request_insert(key, fingerprint, &Outcome::Post(post.clone()), now, Keep::ThirtyDays).await?;
        Ok(Answer::first(post.clone()))
    }

    /// Counts a post of an active user, and says what is wrong with any other.
    pub(super) async fn post_count_add(
        &self,
        tx: &mut Tx,
        user_id: UserId,
        more: i64,
        now: OffsetDateTime,
    ) -> Result<()> {
        if tx.user_post_count_add(user_id, more, now).await? {
            return Ok(());
        }
        match tx.user_fetch(user_id).await? {
            Some(_) => Err(Error::UserDeactivated(user_id)),
            None => Err(Error::UserNotFound(user_id)),
        }
    }
}
