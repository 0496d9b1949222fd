//! Liking a post no more.

use auth::Person;
use types::{Answer, Call, Keep, PostId};

use crate::app::{App, or_first_answer};
use crate::domain::relation::Unliked;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Which post shall not be liked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnlikePost {
    pub(crate) post: PostId,
}

impl App {
    /// Lets the caller like a post no more, whatever has become of it and whether they did or not.
    pub(crate) async fn unlike_post(
        &self,
        call: &Call,
        caller: Person,
        wish: UnlikePost,
    ) -> Result<Answer<Unliked>> {
        let work = |tx| self.unlike_post_in(tx, call, caller, wish);
        let unliked = self.store.transaction("unlike_post", work);
        or_first_answer(unliked.await, || self.first_answer(call)).await
    }

    async fn unlike_post_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: UnlikePost,
    ) -> Result<Finished<Answer<Unliked>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        if let Some(like) = tx.like_fetch(caller.user_id, wish.post).await? {
            // A post that is gone has no author.
            let author = tx.post_head_list(&[like.post]).await?.pop().map(|post| post.author_id);
            tx.like_delete(&like);
            tx.event_append(&self.post_unliked(&like, author, Some(call.key.request_id)))?;
        }
        // Also where there was none: a repeat must not remove a like that was made since.
        tx.request_insert(call, &Unliked, self.now(), Keep::ThirtyDays)?;
        Ok(tx.commit(Answer::first(Unliked)))
    }
}
