//! The most popular posts of a window.

use bson::doc;
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use time::OffsetDateTime;
use types::PostId;

use super::{OF_POSTS, PostCountsRow};
use crate::domain::counters::{PostCounts, Window};
use crate::error::Result;
use crate::storage::{SERVER_TIME, Store, bounded, from_time};

#[derive(Debug, Deserialize)]
struct ScoreRow {
    #[serde(flatten)]
    counts: PostCountsRow,
    score: i64,
}

/// A post that competes for being popular.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Competitor {
    pub(crate) post: PostId,
    pub(crate) counts: PostCounts,
    pub(crate) score: i64,
}

impl Store {
    /// At most `limit` posts of a window, by score and then id. Those that it has become too old for may still be in its
    /// index, and are passed over.
    pub(crate) async fn post_popular_list(
        &self,
        window: Window,
        now: OffsetDateTime,
        limit: i64,
    ) -> Result<Vec<Competitor>> {
        let counters = self.collection::<ScoreRow>(OF_POSTS);
        let find = counters
            .find(doc! {
                "windows": window.as_str(),
                "publish_time": { "$gte": from_time(window.begins(now)) },
            })
            .sort(doc! { "score": -1, "_id": 1 })
            .limit(limit)
            .max_time(SERVER_TIME);
        let rows: Vec<ScoreRow> = bounded(bounded(find).await?.try_collect()).await?;
        let competitor = |row: ScoreRow| Competitor {
            post: PostId::from_uuid(row.counts.id.into()),
            counts: (&row.counts).into(),
            score: row.score,
        };
        Ok(rows.into_iter().map(competitor).collect())
    }
}

#[cfg(test)]
mod tests {
    use bson::Document;
    use testkit::TestMongo;
    use time::Duration;
    use uuid::Uuid;

    use super::*;
    use crate::config::MongoConfig;
    use crate::storage::Shared;

    const MANY: u128 = 10_000;

    async fn store() -> (TestMongo, Store) {
        let mongo = TestMongo::create().await.unwrap();
        let config = MongoConfig::for_tests(mongo.migrate_url());
        let store = Store::connect(&config, Shared::default()).await.unwrap();
        store.migrate().await.unwrap();
        (mongo, store)
    }

    fn id(number: u128) -> PostId {
        PostId::from_uuid(Uuid::from_u128(number))
    }

    /// A post as it was counted when it was published: in all windows.
    fn row(number: u128, score: i64, publish_time: OffsetDateTime) -> Document {
        doc! {
            "_id": bson::Uuid::from(id(number).uuid()), "likes": 0_i64, "comments": 0_i64, "views": score,
            "score": score, "publish_time": from_time(publish_time), "windows": ["day", "week", "month"],
        }
    }

    /// Claim: a favourite that has become too old is passed over at once, and is out of the index when the worker was there.
    #[tokio::test]
    async fn old_favourites_are_passed_over_and_then_leave() {
        let (_mongo, store) = store().await;
        let now = OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap();
        let days = |days: i64| now - Duration::days(days);
        let rows = [
            row(1, 90, days(31)),
            row(2, 80, days(8)),
            row(3, 70, days(2)),
            row(4, 60, now),
            row(5, 60, now),
        ];
        let counters = store.collection::<Document>(OF_POSTS);
        counters.insert_many(rows).await.unwrap();
        let listed = async |window| {
            let posts = store.post_popular_list(window, now, 10).await.unwrap();
            posts.into_iter().map(|one| one.post).collect::<Vec<_>>()
        };
        let indexed = async |window: Window| {
            counters.count_documents(doc! { "windows": window.as_str() }).await.unwrap()
        };
        for is_swept in [false, true] {
            assert_eq!(listed(Window::Day).await, [id(4), id(5)]);
            assert_eq!(listed(Window::Week).await, [id(3), id(4), id(5)]);
            assert_eq!(listed(Window::Month).await, [id(2), id(3), id(4), id(5)]);
            let expected = if is_swept { [2, 3, 4] } else { [5, 5, 5] };
            for (window, expected) in Window::ALL.into_iter().zip(expected) {
                assert_eq!(indexed(window).await, expected, "{window:?}");
            }
            for window in Window::ALL {
                // One at a time, as if there were more than a batch of them.
                while store.post_window_leave(window, now, 1).await.unwrap() == 1 {}
            }
        }
    }

    /// Claim: however many posts compete, and however many favourites are too old, a list reads little more than it shows.
    #[tokio::test]
    async fn a_list_reads_little_more_than_it_shows() {
        let (_mongo, store) = store().await;
        let now = OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap();
        let old = (0..MANY / 2).map(|number| {
            let mut row = row(number, 1_000_000, now - Duration::days(31));
            row.remove("windows");
            row
        });
        let young = (MANY / 2..MANY).map(|number| row(number, i64::try_from(number % 977).unwrap(), now));
        let counters = store.collection::<Document>(OF_POSTS);
        counters.insert_many(old.chain(young)).await.unwrap();
        for limit in [10, 120] {
            let find = doc! {
                "find": OF_POSTS,
                "filter": { "windows": "week", "publish_time": { "$gte": from_time(Window::Week.begins(now)) } },
                "sort": { "score": -1, "_id": 1 },
                "limit": limit,
            };
            let explain = doc! { "explain": find, "verbosity": "executionStats" };
            let plan = store.database().run_command(explain).await.unwrap();
            let text =
                plan.get_document("queryPlanner").unwrap().get_document("winningPlan").unwrap().to_string();
            assert!(text.contains("\"indexName\": \"popular\""), "{text}");
            assert!(!text.contains("COLLSCAN") && !text.contains("\"SORT\""), "{text}");
            let stats = plan.get_document("executionStats").unwrap();
            for name in ["totalKeysExamined", "totalDocsExamined"] {
                let number = stats.get_i64(name).or_else(|_| stats.get_i32(name).map(i64::from)).unwrap();
                assert!((limit..=2 * limit + 20).contains(&number), "{name} {number}: {text}");
            }
            assert_eq!(store.post_popular_list(Window::Week, now, limit).await.unwrap().len() as i64, limit);
        }
    }
}
