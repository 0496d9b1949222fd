//! Removing what a user leaves who was deleted: some at once, until nothing is left, and once more.

use time::Duration;
use types::UserId;

use crate::app::App;
use crate::app::relations::Leaving;
use crate::domain::leaving::Erasure;
use crate::domain::post::PostMove;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// What is removed at once.
const BATCH: u32 = 500;
/// When it is looked once more, for what calls have written that were on their way when the user was deleted. None lasts
/// that long.
const AGAIN_AFTER: Duration = Duration::seconds(10);
/// When it is tried again to remove what could not be removed.
const RETRY_AFTER: Duration = Duration::seconds(30);

impl App {
    /// Removes some of what is left of the user whose turn it is; `false` when it is nobody's.
    pub(crate) async fn erase_some(&self) -> Result<bool> {
        let Some(erasure) = self.store.erasure_next(self.now()).await? else { return Ok(false) };
        match self.erase_some_of(&erasure).await {
            Ok(true) => {}
            Ok(false) if erasure.is_second => self.store.erasure_delete(erasure.user_id).await?,
            Ok(false) => {
                let second = Erasure { is_second: true, ..erasure };
                self.store.erasure_put_off(&second, self.now() + AGAIN_AFTER).await?;
            }
            Err(error) => {
                // Others need not wait for it.
                self.store.erasure_put_off(&erasure, self.now() + RETRY_AFTER).await?;
                return Err(error);
            }
        }
        Ok(true)
    }

    /// Removes some of each kind, and tells whether there may be more. Whatever a user leaves has its line here.
    async fn erase_some_of(&self, erasure: &Erasure) -> Result<bool> {
        let (user, some) = (erasure.user_id, i64::from(BATCH));
        let mut most = self.store.user_answers_erase(user, some).await?;
        for edges in [Leaving::FollowsOf(user), Leaving::LikesOf(user)] {
            most = most.max(self.relations_remove_some(edges).await?);
        }
        if erasure.delete_posts {
            most = most.max(self.store.transaction("erase_posts", |tx| self.erase_posts_in(tx, user)).await?);
            most = most.max(self.store.post_answers_erase(user, some).await?);
        }
        Ok(u32::try_from(most).is_ok_and(|most| most >= BATCH))
    }

    async fn erase_posts_in(&self, mut tx: Tx, author: UserId) -> Result<Finished<usize>> {
        let posts = tx.post_list_of(author, BATCH).await?;
        if posts.is_empty() {
            return Ok(tx.abandon(0));
        }
        let now = self.now();
        for post in &posts {
            post.moved(PostMove::Delete, now)?;
            tx.post_remove(post);
            tx.event_append(&self.post_deleted(post, None))?;
        }
        tx.user_post_count_take(author, i64::try_from(posts.len()).unwrap_or(i64::MAX));
        Ok(tx.commit(posts.len()))
    }
}
