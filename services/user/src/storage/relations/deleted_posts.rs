//! Posts that were deleted and whose likes are still to be removed. Whoever read a post before it was deleted may like it
//! after that, so that its likes are removed twice: at once, and when no such call can be on its way any more.

use bson::doc;
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use time::OffsetDateTime;
use types::PostId;

use crate::error::Result;
use crate::storage::{SERVER_TIME, Store, Tx, bounded, from_time};

const COLLECTION: &str = "deleted_post";
/// Any time of the past is due.
const AT_ONCE: bson::DateTime = bson::DateTime::from_millis(0);

/// A post whose likes are due to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct DeletedPostRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    #[serde(default)]
    was_swept: bool,
}

impl DeletedPostRow {
    /// Which post.
    pub(crate) fn post(&self) -> PostId {
        PostId::from_uuid(self.id.into())
    }

    /// Whether its likes were removed once.
    pub(crate) const fn was_swept(&self) -> bool {
        self.was_swept
    }
}

impl Store {
    /// At most `limit` posts whose likes are due by now, the one that is due for the longest time first.
    pub(crate) async fn deleted_post_list_due(
        &self,
        now: OffsetDateTime,
        limit: i64,
    ) -> Result<Vec<DeletedPostRow>> {
        let posts = self.collection::<DeletedPostRow>(COLLECTION);
        let find = posts
            .find(doc! { "due_time": { "$lte": from_time(now) } })
            .sort(doc! { "due_time": 1, "_id": 1 })
            .limit(limit)
            .max_time(SERVER_TIME);
        bounded(bounded(find).await?.try_collect()).await
    }

    /// Writes that the likes of a post were removed once, and when they are next.
    pub(crate) async fn deleted_post_put_off(&self, post: PostId, until: OffsetDateTime) -> Result<()> {
        let posts = self.collection::<DeletedPostRow>(COLLECTION);
        let change = doc! { "$set": { "due_time": from_time(until), "was_swept": true } };
        bounded(posts.update_one(by_id(post), change)).await.map(drop)
    }

    /// Writes that nothing is left to be removed of a post.
    pub(crate) async fn deleted_post_forget(&self, post: PostId) -> Result<()> {
        let posts = self.collection::<DeletedPostRow>(COLLECTION);
        bounded(posts.delete_one(by_id(post))).await.map(drop)
    }
}

impl Tx {
    /// Writes that a post is deleted, so that its likes will be.
    pub(in crate::storage) fn deleted_post_insert(&mut self, post: PostId) {
        let row = doc! { "_id": bson::Uuid::from(post.uuid()), "due_time": AT_ONCE };
        self.insert(COLLECTION, row, None);
    }
}

fn by_id(post: PostId) -> bson::Document {
    doc! { "_id": bson::Uuid::from(post.uuid()) }
}
