//! Posts in the windows of popular ones: out of each when they are too old for it, so that old favourites do not lie before
//! everything that is looked for; and into them where no event tells, since they are older than the counters.

use std::collections::{BTreeMap, BTreeSet};

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use time::OffsetDateTime;
use types::PostId;

use super::OF_POSTS;
use crate::domain::counters::{PostCounts, Window};
use crate::domain::post::{PostPlace, PostState, PostsOf};
use crate::error::Result;
use crate::storage::{SERVER_TIME, Store, bounded, from_time};

#[derive(Debug, Deserialize)]
struct IdRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
}

impl Store {
    /// Takes at most `limit` posts out of a window that they are too old for, and tells how many that were. Several may do
    /// so at once.
    pub(crate) async fn post_window_leave(
        &self,
        window: Window,
        now: OffsetDateTime,
        limit: i64,
    ) -> Result<usize> {
        let counters = self.collection::<IdRow>(OF_POSTS);
        let too_old = doc! {
            "windows": window.as_str(),
            "publish_time": { "$lt": from_time(window.begins(now)) },
        };
        let find =
            counters.find(too_old.clone()).projection(doc! { "_id": 1 }).limit(limit).max_time(SERVER_TIME);
        let rows: Vec<IdRow> = bounded(bounded(find).await?.try_collect()).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let ids: Vec<bson::Uuid> = rows.iter().map(|row| row.id).collect();
        let mut which = doc! { "_id": { "$in": ids } };
        which.extend(too_old);
        bounded(counters.update_many(which, left(window))).await?;
        Ok(rows.len())
    }

    /// Puts published posts into their windows that are in none, of at most `limit` behind `after`, the newest first. Gives
    /// where that ended, unless none behind it is young enough for a window.
    pub(crate) async fn post_windows_fill(
        &self,
        after: Option<PostPlace>,
        now: OffsetDateTime,
        limit: u32,
    ) -> Result<Option<PostPlace>> {
        let posts = self.post_list(&PostsOf::Everybody, PostState::Published, after, limit).await?;
        let begins = Window::Month.begins(now);
        let is_young = |time: Option<OffsetDateTime>| time.is_some_and(|time| time >= begins);
        let end = posts.last().map(|post| PostPlace { publish_time: post.publish_time, id: post.id });
        let young: Vec<PostId> =
            posts.iter().filter(|post| is_young(post.publish_time)).map(|post| post.id).collect();
        let known = self.post_windows_known(&young).await?;
        let unknown: BTreeMap<PostId, PostCounts> = young
            .into_iter()
            .filter(|id| !known.contains(id))
            .map(|id| (id, PostCounts::default()))
            .collect();
        if !unknown.is_empty() {
            let fill = self.transaction("fill_windows", |mut tx| async {
                tx.post_counts_add(&unknown, now).await?;
                Ok(tx.commit(()))
            });
            fill.await?;
        }
        let is_full = u32::try_from(posts.len()) == Ok(limit);
        Ok(end.filter(|end| is_full && is_young(end.publish_time)))
    }

    /// Those of these posts that are in a window.
    async fn post_windows_known(&self, posts: &[PostId]) -> Result<BTreeSet<PostId>> {
        if posts.is_empty() {
            return Ok(BTreeSet::new());
        }
        let ids: Vec<bson::Uuid> = posts.iter().map(|id| id.uuid().into()).collect();
        let counters = self.collection::<IdRow>(OF_POSTS);
        let find = counters
            .find(doc! { "_id": { "$in": ids }, "windows": { "$exists": true } })
            .projection(doc! { "_id": 1 })
            .max_time(SERVER_TIME);
        let rows: Vec<IdRow> = bounded(bounded(find).await?.try_collect()).await?;
        Ok(rows.into_iter().map(|row| PostId::from_uuid(row.id.into())).collect())
    }
}

/// A post that has left a window is still in the longer ones.
fn left(window: Window) -> Document {
    let longer: Vec<&str> =
        Window::ALL.into_iter().skip_while(|other| *other != window).skip(1).map(Window::as_str).collect();
    if longer.is_empty() {
        return doc! { "$unset": { "windows": "" } };
    }
    doc! { "$set": { "windows": longer } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_that_has_left_a_window_is_in_the_longer_ones() {
        assert_eq!(left(Window::Day), doc! { "$set": { "windows": ["week", "month"] } });
        assert_eq!(left(Window::Week), doc! { "$set": { "windows": ["month"] } });
        assert_eq!(left(Window::Month), doc! { "$unset": { "windows": "" } });
    }
}
