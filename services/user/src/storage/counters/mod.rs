//! What is counted of users and posts, kept beside them and not in them: a popular one would otherwise be all conflicts,
//! and a count would change an etag though nothing that an editor sees has changed. Consumers add to it, and nothing else
//! but views, which no event tells of.
//!
//! Whoever counts something of a post reads, in the same transaction, whether it is there, and which windows of popular
//! posts it is in. What is counted of a deleted post stays for an hour, marked as gone: a transaction that still saw the
//! post meets it, is tried again, and sees that the post is gone.

mod popular;
mod recount;
mod views;
mod windows;

use std::collections::{BTreeMap, HashMap};

use bson::{Document, doc};
use fault::Flaw;
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use time::OffsetDateTime;
use types::{PostId, UserId};

use super::driver::bounded;
use super::posts::StandingRow;
use super::{SERVER_TIME, Store, Tx, from_time};
use crate::domain::counters::{FollowCounts, PostCounts, Window};
use crate::error::Result;

pub(crate) use recount::{PostTally, UserTally};

const OF_USERS: &str = "user_counters";
const OF_POSTS: &str = "post_counters";

/// What is counted of a user.
#[derive(Debug, Deserialize)]
struct FollowsRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    followers: i64,
    following: i64,
}

impl From<&FollowsRow> for FollowCounts {
    fn from(row: &FollowsRow) -> Self {
        Self { followers: row.followers, following: row.following }
    }
}

/// What is counted of a post.
#[derive(Debug, Deserialize)]
struct PostCountsRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    #[serde(default)]
    likes: i64,
    #[serde(default)]
    comments: i64,
    #[serde(default)]
    views: i64,
}

impl From<&PostCountsRow> for PostCounts {
    fn from(row: &PostCountsRow) -> Self {
        Self { likes: row.likes, comments: row.comments, views: row.views }
    }
}

impl Store {
    /// What is counted of those of these users of whom something is.
    pub(crate) async fn follow_counts(&self, users: &[UserId]) -> Result<HashMap<UserId, FollowCounts>> {
        let ids: Vec<bson::Uuid> = users.iter().map(|id| id.uuid().into()).collect();
        let counters = self.collection::<FollowsRow>(OF_USERS);
        let rows = bounded(counters.find(doc! { "_id": { "$in": ids } }).max_time(SERVER_TIME)).await?;
        let rows: Vec<FollowsRow> = bounded(rows.try_collect()).await?;
        Ok(rows.iter().map(|row| (UserId::from_uuid(row.id.into()), row.into())).collect())
    }

    /// What is counted of those of these posts of which something is.
    pub(crate) async fn post_counts(&self, posts: &[PostId]) -> Result<HashMap<PostId, PostCounts>> {
        let ids: Vec<bson::Uuid> = posts.iter().map(|id| id.uuid().into()).collect();
        let counters = self.collection::<PostCountsRow>(OF_POSTS);
        let find = counters
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "likes": 1, "comments": 1, "views": 1 })
            .max_time(SERVER_TIME);
        let rows: Vec<PostCountsRow> = bounded(bounded(find).await?.try_collect()).await?;
        Ok(rows.iter().map(|row| (PostId::from_uuid(row.id.into()), row.into())).collect())
    }
}

impl Tx {
    /// Adds to what is counted of users, with one command.
    pub(crate) async fn follow_counts_add(&mut self, more: &BTreeMap<UserId, FollowCounts>) -> Result<()> {
        if more.is_empty() {
            return Ok(());
        }
        let updates = more.iter().map(|(user_id, FollowCounts { followers, following })| {
            let sums = doc! { "followers": *followers, "following": *following };
            doc! { "q": { "_id": bson::Uuid::from(user_id.uuid()) }, "u": { "$inc": sums }, "upsert": true }
        });
        self.count(OF_USERS, updates.collect()).await
    }

    /// Adds to what is counted of posts and writes down which windows they are in now, with one command. Of posts that are
    /// gone, it writes down that.
    pub(crate) async fn post_counts_add(
        &mut self,
        more: &BTreeMap<PostId, PostCounts>,
        now: OffsetDateTime,
    ) -> Result<()> {
        if more.is_empty() {
            return Ok(());
        }
        let ids: Vec<PostId> = more.keys().copied().collect();
        let there = self.post_standing_list(&ids).await?;
        let updates = more.iter().map(|(post_id, more)| {
            let change = match there.get(post_id) {
                Some(post) => counted(*more, post, now),
                None => gone(),
            };
            doc! { "q": { "_id": bson::Uuid::from(post_id.uuid()) }, "u": change, "upsert": true }
        });
        self.count(OF_POSTS, updates.collect()).await
    }

    async fn count(&mut self, collection: &str, updates: Vec<Document>) -> Result<()> {
        if Flaw::CountsApart.is_in() {
            let command = doc! { "update": collection, "updates": updates };
            return bounded(self.store.database().run_command(command)).await.map(drop);
        }
        self.update_all(collection, updates).await
    }
}

/// The counts, and with them the score by which the index of popular posts is ordered.
fn counted(more: PostCounts, post: &StandingRow, now: OffsetDateTime) -> Document {
    let mut change = standing(post, now);
    change.insert("$inc", sums(more));
    change
}

fn sums(counts: PostCounts) -> Document {
    let PostCounts { likes, comments, views } = counts;
    doc! { "likes": likes, "comments": comments, "views": views, "score": counts.score() }
}

/// Where a post belongs among the popular ones.
fn standing(post: &StandingRow, now: OffsetDateTime) -> Document {
    let Some(publish_time) = post.published_at() else { return doc! { "$unset": { "windows": "" } } };
    let windows: Vec<&str> = Window::of(publish_time, now).into_iter().map(Window::as_str).collect();
    let mut set = doc! { "publish_time": from_time(publish_time) };
    if windows.is_empty() {
        return doc! { "$set": set, "$unset": { "windows": "" } };
    }
    set.insert("windows", windows);
    doc! { "$set": set }
}

fn gone() -> Document {
    doc! { "$currentDate": { "gone_at": true }, "$unset": { "windows": "" } }
}
