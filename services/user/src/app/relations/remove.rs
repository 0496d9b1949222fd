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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bson::{Document, doc};
    use futures_util::TryStreamExt as _;
    use testkit::TestMongo;
    use time::OffsetDateTime;
    use types::{FollowId, LikeId, SystemClock, SystemIds};
    use uuid::Uuid;

    use super::*;
    use crate::config::{MongoConfig, PasswordConfig};
    use crate::domain::relation::Follow;
    use crate::passwords::Hasher;
    use crate::storage::{Shared, Store};

    const CHEAP: PasswordConfig = PasswordConfig { memory_kib: 64, passes: 1, lanes: 1, queue: 64 };

    async fn app(mongo: &TestMongo) -> App {
        let store =
            Store::connect(&MongoConfig::for_tests(mongo.migrate_url()), Shared::default()).await.unwrap();
        store.migrate().await.unwrap();
        App::new(store, Hasher::new(CHEAP).unwrap(), Arc::new(SystemClock), Arc::new(SystemIds))
    }

    fn somebody() -> UserId {
        UserId::from_uuid(Uuid::now_v7())
    }

    /// Makes these edges, of which nobody is told.
    async fn make(app: &App, follows: &[(UserId, UserId)], likes: &[(UserId, PostId)]) {
        let mut tx = app.store.begin("test").await.unwrap();
        // The stand-in for MongoDB takes no bulk write as the first statement of a transaction.
        tx.follow_quota_fetch(somebody()).await.unwrap();
        let create_time = OffsetDateTime::UNIX_EPOCH;
        for (follower, followee) in follows.iter().copied() {
            let id = FollowId::from_uuid(Uuid::now_v7());
            tx.follow_insert(&Follow { id, follower, followee, create_time }).unwrap();
        }
        for (user, post) in likes.iter().copied() {
            let id = LikeId::from_uuid(Uuid::now_v7());
            tx.like_insert(&Like { id, post, user, create_time }).unwrap();
        }
        tx.commit_now().await.unwrap();
    }

    async fn count(app: &App, collection: &str, filter: Document) -> u64 {
        app.store.collection::<Document>(collection).count_documents(filter).await.unwrap()
    }

    /// Removes to the end, and tells how many each time.
    async fn remove(app: &App, of: Leaving) -> Vec<usize> {
        let mut counts = Vec::new();
        loop {
            counts.push(app.relations_remove_some(of).await.unwrap());
            if counts.last() != Some(&EDGES_MOST) {
                return counts;
            }
        }
    }

    #[tokio::test]
    async fn who_leaves_follows_nobody_and_is_followed_by_nobody() {
        let mongo = TestMongo::create().await.unwrap();
        let app = app(&mongo).await;
        let (gone, ann, ben) = (somebody(), somebody(), somebody());
        let mut follows: Vec<(UserId, UserId)> = (0..510).map(|_| (gone, somebody())).collect();
        follows.extend((0..520).map(|_| (somebody(), gone)));
        follows.extend([(ann, gone), (ann, ben), (gone, ann)]);
        make(&app, &follows, &[]).await;
        let mut tx = app.store.begin("test").await.unwrap();
        tx.follow_quota_fetch(gone).await.unwrap();
        tx.follow_quota_set(gone, None, 511).unwrap();
        tx.follow_quota_set(ann, None, 2).unwrap();
        tx.commit_now().await.unwrap();

        assert_eq!(remove(&app, Leaving::FollowsOf(gone)).await, [500, 500, 32]);
        assert_eq!(remove(&app, Leaving::FollowsOf(gone)).await, [0], "once more");
        assert_eq!(count(&app, "follow", doc! {}).await, 1, "what is not theirs stays");
        assert_eq!(count(&app, "outbox", doc! { "type": "user.v1.UserUnfollowed" }).await, 1_032);
        assert_eq!(count(&app, "outbox", doc! { "aggregate.version": { "$ne": 2_i64 } }).await, 0);
        // Ann's number is too high now, which it may be.
        let quotas = app.store.collection::<Document>("follow_quota");
        let quotas: Vec<Document> = quotas.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        assert_eq!(quotas, [doc! { "_id": bson::Uuid::from(ann.uuid()), "at_most": 2_i64 }]);
    }

    #[tokio::test]
    async fn who_leaves_likes_nothing() {
        let mongo = TestMongo::create().await.unwrap();
        let app = app(&mongo).await;
        let (gone, ann) = (somebody(), somebody());
        let post = || PostId::from_uuid(Uuid::now_v7());
        let mut likes: Vec<(UserId, PostId)> = (0..501).map(|_| (gone, post())).collect();
        likes.push((ann, likes[0].1));
        make(&app, &[], &likes).await;
        assert_eq!(remove(&app, Leaving::LikesOf(gone)).await, [500, 1]);
        assert_eq!(count(&app, "like", doc! {}).await, 1);
        assert_eq!(count(&app, "outbox", doc! { "type": "user.v1.PostUnliked" }).await, 501);
        assert_eq!(remove(&app, Leaving::LikesOfPost(likes[0].1)).await, [1]);
        assert_eq!(count(&app, "like", doc! {}).await, 0);
    }
}
