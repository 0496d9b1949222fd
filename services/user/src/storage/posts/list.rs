//! Lists of posts, without their bodies. Each has an index that serves its conditions and its order, and is told to use it.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::Hint;
use types::{PostId, UserId};

use super::{COLLECTION, PostRow, StateRow};
use crate::domain::post::{Post, PostPlace, PostState, PostsOf};
use crate::error::Result;
use crate::storage::{SERVER_TIME, Store, Tx, bounded, from_time};

/// What is not read for a list.
fn without_body() -> Document {
    doc! { "body": 0 }
}

impl Store {
    /// At most `limit` posts in a state behind `after`, the one that was published last first.
    pub(crate) async fn post_list(
        &self,
        of: &PostsOf,
        state: PostState,
        after: Option<PostPlace>,
        limit: u32,
    ) -> Result<Vec<Post>> {
        let (mut filter, index) = match of {
            PostsOf::Everybody => (doc! {}, "listed"),
            PostsOf::Author(id) => {
                let index = if state == PostState::Draft { "author_drafts" } else { "author_listed" };
                (doc! { "author_id": bson::Uuid::from(id.uuid()) }, index)
            }
            PostsOf::Tag(tag) => (doc! { "tags": tag.as_str() }, "tag_listed"),
            PostsOf::Category(category) => (doc! { "category": category.as_str() }, "category_listed"),
        };
        filter.insert("state", StateRow::from(state).as_str());
        filter.extend(behind(state, after));
        let posts = self.collection::<PostRow>(COLLECTION);
        let find = posts
            .find(filter)
            .projection(without_body())
            .sort(order(state))
            .hint(Hint::Name(index.to_owned()))
            .limit(i64::from(limit))
            .max_time(SERVER_TIME);
        let rows: Vec<PostRow> = bounded(bounded(find).await?.try_collect()).await?;
        Ok(rows.into_iter().map(Post::from).collect())
    }
}

/// The order of a list: drafts have no time to be ordered by.
fn order(state: PostState) -> Document {
    match state {
        PostState::Draft => doc! { "_id": -1 },
        PostState::Published | PostState::Archived => doc! { "publish_time": -1, "_id": -1 },
    }
}

/// What is behind a place in that order.
fn behind(state: PostState, after: Option<PostPlace>) -> Document {
    let below = |place: PostPlace| doc! { "$lt": bson::Uuid::from(place.id.uuid()) };
    match (state, after) {
        (_, None) => doc! {},
        (PostState::Draft, Some(place)) => doc! { "_id": below(place) },
        (PostState::Published | PostState::Archived, Some(place)) => {
            let time = place.publish_time.map(from_time);
            doc! {
                "publish_time": { "$lte": time },
                "$or": [
                    { "publish_time": { "$lt": time } },
                    { "publish_time": time, "_id": below(place) },
                ],
            }
        }
    }
}

impl Store {
    /// Those of these posts that everybody may read, in no particular order.
    pub(crate) async fn post_list_among(&self, ids: &[PostId]) -> Result<Vec<Post>> {
        let ids: Vec<bson::Uuid> = ids.iter().map(|id| id.uuid().into()).collect();
        let posts = self.collection::<PostRow>(COLLECTION);
        let which = posts.find(doc! { "_id": { "$in": ids } });
        let find = which.projection(without_body()).max_time(SERVER_TIME);
        let rows: Vec<PostRow> = bounded(bounded(find).await?.try_collect()).await?;
        Ok(rows.into_iter().map(Post::from).filter(|post| post.state == PostState::Published).collect())
    }
}

impl Tx {
    /// The oldest posts of an author in any state, at most `limit`, as of this transaction's snapshot.
    pub(crate) async fn post_list_of(&mut self, author: UserId, limit: u32) -> Result<Vec<Post>> {
        let (posts, session) = self.on::<PostRow>(COLLECTION);
        let find = posts
            .find(doc! { "author_id": bson::Uuid::from(author.uuid()) })
            .projection(without_body())
            .sort(doc! { "_id": 1 })
            .hint(Hint::Name("author".to_owned()))
            .limit(i64::from(limit));
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<PostRow> = bounded(rows.stream(session).try_collect()).await?;
        Ok(rows.into_iter().map(Post::from).collect())
    }
}
