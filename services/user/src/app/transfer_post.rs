//! Handing a post over: the post, both users' counts and the event in one transaction, guarded by the present
//! author.

use time::OffsetDateTime;
use types::{PostId, UserId};

use super::{Answer, App, Idempotency};
use crate::domain::post::Post;
use crate::error::{Error, Result};
use crate::storage::{Keep, Outcome, Tx};

/// Who hands which post to whom.
#[derive(Debug)]
pub(crate) struct TransferPost {
    pub(crate) idempotency: Idempotency,
    pub(crate) caller: UserId,
    pub(crate) post_id: PostId,
    /// Somebody else than the caller.
    pub(crate) to: UserId,
    pub(crate) etag: Option<i64>,
}

impl App {
    /// Hands a post of the caller to another active user.
    pub(crate) async fn transfer_post(&self, request: TransferPost) -> Result<Answer<Post>> {
        let now = self.now();
        let outcome = self
            .store
            .transaction("transfer_post", (self, &request, now), |tx, (app, request, now)| {
                Box::pin(app.transfer_post_in(tx, request, *now))
            })
            .await;
        self.or_first_answer(outcome, &request.idempotency, Outcome::into_post).await
    }

    async fn transfer_post_in(
        &self,
        tx: &mut Tx,
        request: &TransferPost,
        now: OffsetDateTime,
    ) -> Result<Answer<Post>> {
        let Idempotency { key, fingerprint } = &request.idempotency;
        if let Some(saved) = tx.request_fetch(key).await? {
            return saved.replay(key, fingerprint)?.into_post().map(Answer::again);
        }
        let before = tx.post_fetch(request.post_id).await?.ok_or(Error::PostNotFound(request.post_id))?;
        before.require_author(request.caller)?;
        before.require_version(request.etag)?;
        let post = before.handed_over(request.to, now);
        tx.post_hand_over(request.caller, &post);
        tx.user_post_count_add(request.to, 1, now);
        tx.user_post_count_add(request.caller, -1, now);
        tx.event_append(&self.post_transferred(&post, request.caller, key.request_id))?;
        tx.request_insert(key, fingerprint, &Outcome::Post(post.clone()), now, Keep::ThirtyDays)?;
        Ok(Answer::first(post))
    }
}
