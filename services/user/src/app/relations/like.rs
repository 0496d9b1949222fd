//! Liking a post.

use auth::Person;
use types::{Answer, Call, Keep, PostId, Role};

use crate::app::{App, or_first_answer};
use crate::domain::post::PostRefused;
use crate::domain::relation::Like;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Which post shall be liked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LikePost {
    pub(crate) post: PostId,
}

impl App {
    /// Lets the caller like a post. Who does already goes on with the like that there is.
    pub(crate) async fn like_post(
        &self,
        call: &Call,
        caller: Person,
        wish: LikePost,
    ) -> Result<Answer<Like>> {
        let liked = self.store.transaction("like_post", |tx| self.like_post_in(tx, call, caller, wish));
        or_first_answer(liked.await, || self.first_answer(call)).await
    }

    /// The post is only read: no two who like one shall meet. A like of a post that is just being deleted may get through;
    /// whoever removes the likes of deleted posts comes back for it.
    async fn like_post_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: LikePost,
    ) -> Result<Finished<Answer<Like>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let post = tx.post_head_list(&[wish.post]).await?.pop();
        let post = post.filter(|post| post.is_visible_to(caller.user_id, caller.role == Role::Admin));
        let post = post.ok_or(PostRefused::NotFound(wish.post))?;
        let now = self.now();
        let like = match tx.like_fetch(caller.user_id, post.id).await? {
            Some(like) => like,
            None => {
                post.require_published()?;
                let like = Like { id: self.next_id(), post: post.id, user: caller.user_id, create_time: now };
                tx.like_insert(&like)?;
                tx.event_append(&self.post_liked(&like, post.author_id, call.key.request_id))?;
                like
            }
        };
        tx.request_insert(call, &like, now, Keep::ThirtyDays)?;
        Ok(tx.commit(Answer::first(like)))
    }
}
