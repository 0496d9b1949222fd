//! Removing edges of what is gone, some in each transaction. Nobody has asked for it by a call, so that their events have no
//! request.

use std::collections::HashMap;

use types::{PostId, UserId};

use crate::app::App;
use crate::domain::relation::{FollowEnd, Like};
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Edges of one transaction: the events of them all are in it.
pub(crate) const EDGES_MOST: usize = 500;

/// Whose edges shall be removed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leaving {
    /// Whom a user follows and who follows the user.
    FollowsOf(UserId),
    /// What a user likes.
    LikesOf(UserId),
    /// Who likes a post.
    LikesOfPost(PostId),
}

impl App {
    /// Removes at most [`EDGES_MOST`] edges, with an event for each, and tells of how many it was: when they are fewer, there
    /// were no more. An edge that is made by a call on its way may come after that.
    pub(crate) async fn relations_remove_some(&self, of: Leaving) -> Result<usize> {
        self.store.transaction("remove_relations", |tx| self.relations_remove_some_in(tx, of)).await
    }

    async fn relations_remove_some_in(&self, mut tx: Tx, of: Leaving) -> Result<Finished<usize>> {
        let count = match of {
            Leaving::FollowsOf(user) => self.follows_remove_some(&mut tx, user).await?,
            Leaving::LikesOf(user) => {
                let likes = tx.like_list_some_of_user(user, EDGES_MOST).await?;
                self.likes_remove(&mut tx, &likes).await?
            }
            Leaving::LikesOfPost(post) => {
                let likes = tx.like_list_some_of_post(post, EDGES_MOST).await?;
                self.likes_remove(&mut tx, &likes).await?
            }
        };
        Ok(tx.commit(count))
    }

    /// First those that the user follows. The numbers of those who follow the user stay as they are, which is too high by one
    /// each: written here, they would meet whatever those do meanwhile.
    async fn follows_remove_some(&self, tx: &mut Tx, user: UserId) -> Result<usize> {
        let mut follows = tx.follow_list_some(FollowEnd::Follower(user), EDGES_MOST).await?;
        if follows.len() < EDGES_MOST {
            if let Some(at_most) = tx.follow_quota_fetch(user).await? {
                tx.follow_quota_delete(user, at_most);
            }
            let rest = EDGES_MOST - follows.len();
            follows.extend(tx.follow_list_some(FollowEnd::Followee(user), rest).await?);
        }
        for follow in &follows {
            tx.follow_delete(follow);
            tx.event_append(&self.user_unfollowed(follow, None))?;
        }
        Ok(follows.len())
    }

    async fn likes_remove(&self, tx: &mut Tx, likes: &[Like]) -> Result<usize> {
        let mut posts: Vec<PostId> = likes.iter().map(|like| like.post).collect();
        posts.dedup();
        let posts = tx.post_head_list(&posts).await?;
        let authors: HashMap<PostId, UserId> = posts.iter().map(|post| (post.id, post.author_id)).collect();
        for like in likes {
            tx.like_delete(like);
            tx.event_append(&self.post_unliked(like, authors.get(&like.post).copied(), None))?;
        }
        Ok(likes.len())
    }
}
