//! Counting views of posts. A view is claimed by a document whose key is the post and the viewer, which is as old as the last
//! view that was counted: whoever finds none, or one that is a day old, makes it or makes it young again, and has one view
//! to count. MongoDB removes old ones some time later. No transaction joins the claim and the count: a process that dies in
//! between loses a view, and none counts twice.

use std::collections::BTreeMap;

use bson::{Document, doc};
use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::{UpdateOneModel, WriteModel};
use time::{Duration, OffsetDateTime};
use types::{PostId, UserId};

use super::OF_POSTS;
use crate::domain::counters::PostCounts;
use crate::error::Result;
use crate::storage::{DUPLICATE_KEY, Store, bounded_raw, classify, from_time};

const VIEWS: &str = "post_view";
/// How long another view by the same viewer is none.
const COUNTED_AGAIN: Duration = Duration::DAY;

impl Store {
    /// Claims views, and gives those that count.
    pub(crate) async fn post_views_claim(
        &self,
        views: &[(PostId, UserId)],
        now: OffsetDateTime,
    ) -> Result<Vec<(PostId, UserId)>> {
        let claims = views.iter().map(|(post, viewer)| {
            let key =
                doc! { "post": bson::Uuid::from(post.uuid()), "viewer": bson::Uuid::from(viewer.uuid()) };
            // One that is younger does not match, so that making another comes to a duplicate of its key.
            let old = doc! { "_id": key, "seen_at": { "$lte": from_time(now - COUNTED_AGAIN) } };
            self.upsert(VIEWS, old, doc! { "$set": { "seen_at": from_time(now) } })
        });
        let duplicates = self.write_apart(claims.collect()).await?;
        let counts =
            |(place, view): (usize, &(PostId, UserId))| (!duplicates.contains(&place)).then_some(*view);
        Ok(views.iter().enumerate().filter_map(counts).collect())
    }

    /// Adds views to what is counted of posts, unless they are gone.
    pub(crate) async fn post_views_add(&self, more: &BTreeMap<PostId, i64>) -> Result<()> {
        let updates = more.iter().map(|(post, views)| {
            let counts = PostCounts { views: *views, ..PostCounts::default() };
            let there = doc! { "_id": bson::Uuid::from(post.uuid()), "gone_at": { "$exists": false } };
            self.upsert(OF_POSTS, there, doc! { "$inc": super::sums(counts) })
        });
        self.write_apart(updates.collect()).await.map(drop)
    }

    fn upsert(&self, collection: &str, which: Document, change: Document) -> WriteModel {
        let namespace = self.collection::<Document>(collection).namespace();
        UpdateOneModel::builder()
            .namespace(namespace)
            .filter(which)
            .update(change)
            .upsert(true)
            .build()
            .into()
    }

    /// Writes whatever of these can be written, in one exchange, and gives the places of those whose key was there.
    async fn write_apart(&self, models: Vec<WriteModel>) -> Result<Vec<usize>> {
        if models.is_empty() {
            return Ok(Vec::new());
        }
        match bounded_raw(self.client().bulk_write(models).ordered(false)).await {
            Ok(_) => Ok(Vec::new()),
            Err(error) => duplicates(&error).map_or_else(|| Err(classify(error).into()), Ok),
        }
    }
}

/// The places of the writes whose key was there, when nothing else went wrong.
fn duplicates(error: &DriverError) -> Option<Vec<usize>> {
    let ErrorKind::BulkWrite(bulk) = &*error.kind else { return None };
    let is_nothing_else = bulk.write_concern_errors.is_empty()
        && bulk.write_errors.values().all(|error| error.code == DUPLICATE_KEY);
    is_nothing_else.then(|| bulk.write_errors.keys().copied().collect())
}
