//! What is counted beside what is there, a page of users or posts at a time: as of one snapshot, in a transaction that may
//! mend it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use types::{PostId, UserId};

use super::{FollowsRow, OF_POSTS, OF_USERS, PostCountsRow, gone, standing, sums};
use crate::domain::counters::{FollowCounts, PostCounts};
use crate::error::Result;
use crate::storage::posts::StandingRow;
use crate::storage::{Tx, bounded, to_time};

const USERS: &str = "user";
const POSTS: &str = "post";
const FOLLOWS: &str = "follow";
const LIKES: &str = "like";

/// What is counted of a user, and what is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserTally {
    /// `None` of somebody who is not there.
    pub(crate) post_count: Option<i64>,
    pub(crate) follows: FollowCounts,
    pub(crate) posts_there: i64,
    pub(crate) follows_there: FollowCounts,
}

/// What is counted of a post, and what is there.
#[derive(Debug)]
pub(crate) struct PostTally {
    /// `None` of a post of which nothing is counted.
    pub(crate) counted: Option<PostRow>,
    pub(crate) likes_there: i64,
    /// `None` of a post that is not there.
    pub(crate) post: Option<StandingRow>,
}

/// All that is kept of a post here.
#[derive(Debug, Deserialize)]
pub(crate) struct PostRow {
    #[serde(flatten)]
    kept: PostCountsRow,
    #[serde(default)]
    pub(crate) score: i64,
    #[serde(default)]
    pub(crate) windows: Vec<String>,
    publish_time: Option<bson::DateTime>,
    gone_at: Option<bson::DateTime>,
}

impl PostRow {
    pub(crate) fn counts(&self) -> PostCounts {
        (&self.kept).into()
    }

    pub(crate) const fn is_gone(&self) -> bool {
        self.gone_at.is_some()
    }

    pub(crate) fn publish_time(&self) -> Option<OffsetDateTime> {
        self.publish_time.map(to_time)
    }
}

/// A page, and where the next one begins.
#[derive(Debug)]
pub(crate) struct Tallies<K, T> {
    pub(crate) all: BTreeMap<K, T>,
    /// `None` at the end.
    pub(crate) end: Option<K>,
}

#[derive(Debug, Deserialize)]
struct PostCountRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    post_count: i64,
}

#[derive(Debug, Deserialize)]
struct SumRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    count: i64,
}

/// A document that is found by its key.
trait Keyed {
    fn key(&self) -> bson::Uuid;
}

impl Keyed for PostCountRow {
    fn key(&self) -> bson::Uuid {
        self.id
    }
}

impl Keyed for StandingRow {
    fn key(&self) -> bson::Uuid {
        self.id()
    }
}

impl Tx {
    /// The next users, and whoever is counted among them and is not there.
    pub(crate) async fn user_tallies(
        &mut self,
        after: Option<UserId>,
        limit: i64,
    ) -> Result<Tallies<UserId, UserTally>> {
        let after = after.map(|id| id.uuid().into());
        let fields = doc! { "post_count": 1 };
        let (users, end) = self.page::<PostCountRow>(USERS, after, limit, fields).await?;
        let counted: Vec<FollowsRow> = self.between(OF_USERS, after, end).await?;
        let counted: HashMap<bson::Uuid, FollowCounts> =
            counted.iter().map(|row| (row.id, row.into())).collect();
        let ids: BTreeSet<bson::Uuid> = users.keys().chain(counted.keys()).copied().collect();
        let followers = self.sums_by(FOLLOWS, "followee_id", &ids).await?;
        let following = self.sums_by(FOLLOWS, "follower_id", &ids).await?;
        let posts = self.sums_by(POSTS, "author_id", &ids).await?;
        let of = |sums: &HashMap<bson::Uuid, i64>, id: &bson::Uuid| sums.get(id).copied().unwrap_or_default();
        let tally = |id: &bson::Uuid| UserTally {
            post_count: users.get(id).map(|row| row.post_count),
            follows: counted.get(id).copied().unwrap_or_default(),
            posts_there: of(&posts, id),
            follows_there: FollowCounts { followers: of(&followers, id), following: of(&following, id) },
        };
        let all = ids.iter().map(|id| (UserId::from_uuid((*id).into()), tally(id))).collect();
        Ok(Tallies { all, end: end.map(|id| UserId::from_uuid(id.into())) })
    }

    /// The next posts, and those that are counted among them and are not there.
    pub(crate) async fn post_tallies(
        &mut self,
        after: Option<PostId>,
        limit: i64,
    ) -> Result<Tallies<PostId, PostTally>> {
        let after = after.map(|id| id.uuid().into());
        let fields = StandingRow::fields();
        let (mut posts, end) = self.page::<StandingRow>(POSTS, after, limit, fields).await?;
        let counted: Vec<PostRow> = self.between(OF_POSTS, after, end).await?;
        let mut counted: HashMap<bson::Uuid, PostRow> =
            counted.into_iter().map(|row| (row.kept.id, row)).collect();
        let ids: BTreeSet<bson::Uuid> = posts.keys().chain(counted.keys()).copied().collect();
        let likes = self.sums_by(LIKES, "post_id", &ids).await?;
        let all = ids.into_iter().map(|id| {
            let likes_there = likes.get(&id).copied().unwrap_or_default();
            let tally = PostTally { counted: counted.remove(&id), likes_there, post: posts.remove(&id) };
            (PostId::from_uuid(id.into()), tally)
        });
        Ok(Tallies { all: all.collect(), end: end.map(|id| PostId::from_uuid(id.into())) })
    }

    /// Makes what is counted of a user this.
    pub(crate) async fn follow_counts_mend(&mut self, user: UserId, counts: FollowCounts) -> Result<()> {
        let FollowCounts { followers, following } = counts;
        let set = doc! { "$set": { "followers": followers, "following": following } };
        let update = doc! { "q": { "_id": bson::Uuid::from(user.uuid()) }, "u": set, "upsert": true };
        self.update_all(OF_USERS, vec![update]).await
    }

    /// Makes how many posts a user has this.
    pub(crate) async fn post_count_mend(&mut self, user: UserId, posts: i64) -> Result<()> {
        let set = doc! { "$set": { "post_count": posts } };
        self.update_all(USERS, vec![doc! { "q": { "_id": bson::Uuid::from(user.uuid()) }, "u": set }]).await
    }

    /// Makes what is counted of a post this, and has it where it belongs; without a post, marks it as gone.
    pub(crate) async fn post_counts_mend(
        &mut self,
        id: PostId,
        post: Option<&StandingRow>,
        counts: PostCounts,
        now: OffsetDateTime,
    ) -> Result<()> {
        let change = match post {
            None => gone(),
            Some(post) => {
                let mut change = standing(post, now);
                let sums = sums(counts);
                match change.get_document_mut("$set") {
                    Ok(set) => set.extend(sums),
                    Err(_) => {
                        change.insert("$set", sums);
                    }
                }
                change
            }
        };
        let update = doc! { "q": { "_id": bson::Uuid::from(id.uuid()) }, "u": change, "upsert": true };
        self.update_all(OF_POSTS, vec![update]).await
    }

    /// The next documents of a collection, and where that ended unless it was the end.
    async fn page<T: Keyed + DeserializeOwned + Send + Sync>(
        &mut self,
        collection: &str,
        after: Option<bson::Uuid>,
        limit: i64,
        fields: Document,
    ) -> Result<(HashMap<bson::Uuid, T>, Option<bson::Uuid>)> {
        let (rows, session) = self.on::<T>(collection);
        let find = rows.find(keys(after, None)).sort(doc! { "_id": 1 }).projection(fields).limit(limit);
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<T> = bounded(rows.stream(session).try_collect()).await?;
        let is_full = i64::try_from(rows.len()) == Ok(limit);
        let end = rows.last().filter(|_| is_full).map(Keyed::key);
        Ok((rows.into_iter().map(|row| (row.key(), row)).collect(), end))
    }

    /// The documents between two keys.
    async fn between<T: DeserializeOwned + Send + Sync>(
        &mut self,
        collection: &str,
        after: Option<bson::Uuid>,
        through: Option<bson::Uuid>,
    ) -> Result<Vec<T>> {
        let (rows, session) = self.on::<T>(collection);
        // In this order also where the whole collection is between them: by the index of keys.
        let find = rows.find(keys(after, through)).sort(doc! { "_id": 1 });
        let mut rows = bounded(find.session(&mut *session)).await?;
        bounded(rows.stream(session).try_collect()).await
    }

    /// How many documents there are for each of these values of a field.
    async fn sums_by(
        &mut self,
        collection: &str,
        field: &str,
        values: &BTreeSet<bson::Uuid>,
    ) -> Result<HashMap<bson::Uuid, i64>> {
        let values: Vec<Bson> = values.iter().map(|value| Bson::from(*value)).collect();
        let pipeline = [
            doc! { "$match": { field: { "$in": values } } },
            doc! { "$group": { "_id": format!("${field}"), "count": { "$sum": 1_i64 } } },
        ];
        let (rows, session) = self.on::<Document>(collection);
        let groups = rows.aggregate(pipeline).with_type::<SumRow>().session(&mut *session);
        let mut rows = bounded(groups).await?;
        let rows: Vec<SumRow> = bounded(rows.stream(session).try_collect()).await?;
        Ok(rows.into_iter().map(|row| (row.id, row.count)).collect())
    }
}

fn keys(after: Option<bson::Uuid>, through: Option<bson::Uuid>) -> Document {
    let mut range = doc! {};
    range.extend(after.map(|after| ("$gt".to_owned(), after.into())));
    range.extend(through.map(|through| ("$lte".to_owned(), through.into())));
    if range.is_empty() {
        range
    } else {
        doc! { "_id": range }
    }
}
