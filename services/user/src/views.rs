//! Views of posts, buffered for a second: a popular post is written once a second by each process, and not by each call.
//! What waits in a process that dies is lost; what may have been counted is never counted again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use types::{Clock, Failure, PostId, UserId};

use crate::domain::post::PostState;
use crate::error::Result;
use crate::storage::Store;

/// As many wait at the most: a second of a hundred clients with a hundred posts each.
const WAITING_MAX: usize = 10_000;
/// How many are claimed in one exchange.
const AT_ONCE: usize = 1_000;
const EVERY: Duration = Duration::from_secs(1);
/// How long the last ones may take at a shutdown.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// A view: of what, and by whom.
type View = (PostId, UserId);

/// The views that wait to be counted. All cores of the process share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Views(Arc<Mutex<HashSet<View>>>);

impl Views {
    /// Takes views of these posts, or refuses them all when too many wait.
    pub(crate) fn record(&self, viewer: UserId, posts: &[PostId]) -> Result<()> {
        let mut waiting = self.lock();
        let new = posts.iter().filter(|post| !waiting.contains(&(**post, viewer))).count();
        if waiting.len() + new > WAITING_MAX {
            return Err(Failure::Overloaded { what: "views", retry_after: EVERY }.into());
        }
        waiting.extend(posts.iter().map(|post| (*post, viewer)));
        Ok(())
    }

    /// Counts what waits each second, and a last time when `stop` is cancelled.
    pub(crate) async fn count(self, store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
        let mut is_failing = false;
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            is_failing = self.flush(&store, &*clock, is_failing).await;
        }
        if tokio::time::timeout(LAST_WITHIN, self.flush(&store, &*clock, is_failing)).await.is_err() {
            tracing::warn!("views of posts are lost: the database did not count them in time");
        }
    }

    /// Tells whether that failed.
    async fn flush(&self, store: &Store, clock: &dyn Clock, is_failing: bool) -> bool {
        let Err(error) = self.try_flush(store, clock).await else { return false };
        if !is_failing {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "cannot count views of posts now; trying again");
        }
        true
    }

    /// Counts what waits, or what of it can be counted before something fails.
    pub(crate) async fn try_flush(&self, store: &Store, clock: &dyn Clock) -> Result<()> {
        let mut waiting: Vec<View> = self.lock().drain().collect();
        // In order, so that two processes do not wait for each other.
        waiting.sort_unstable();
        while !waiting.is_empty() {
            let some = waiting.split_off(waiting.len().saturating_sub(AT_ONCE));
            let counted = match that_count(store, &some).await {
                // What was tried and failed may be counted: it does not wait again.
                Ok(views) => count(store, clock, &views).await,
                Err(error) => {
                    waiting.extend(some);
                    Err(error)
                }
            };
            if counted.is_err() {
                self.lock().extend(waiting);
                return counted;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<View>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those views that are of posts which everybody may read, and not their authors'.
async fn that_count(store: &Store, views: &[View]) -> Result<Vec<View>> {
    let mut posts: Vec<PostId> = views.iter().map(|(post, _)| *post).collect();
    posts.dedup();
    let posts = store.post_head_list(&posts).await?;
    let published = posts.iter().filter(|post| post.state == PostState::Published);
    let authors: HashMap<PostId, UserId> = published.map(|post| (post.id, post.author_id)).collect();
    let is_view = |(post, viewer): &View| authors.get(post).is_some_and(|author| author != viewer);
    Ok(views.iter().copied().filter(is_view).collect())
}

async fn count(store: &Store, clock: &dyn Clock, views: &[View]) -> Result<()> {
    let mut more = BTreeMap::new();
    for (post, _) in store.post_views_claim(views, clock.now()).await? {
        *more.entry(post).or_insert(0) += 1;
    }
    store.post_views_add(&more).await
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};
    use futures_util::future::join_all;
    use testkit::TestMongo;
    use time::OffsetDateTime;
    use types::ManualClock;
    use uuid::Uuid;

    use super::*;
    use crate::config::MongoConfig;
    use crate::storage::Shared;

    /// Claim: of many processes that hear of one view at once, one counts it; and a day later it counts again, whether or
    /// not MongoDB has removed what tells of the first.
    #[tokio::test]
    async fn a_view_counts_once_a_day_whichever_process_hears_of_it() {
        let mongo = TestMongo::create().await.unwrap();
        let config = MongoConfig::for_tests(mongo.migrate_url());
        let store = Store::connect(&config, Shared::default()).await.unwrap();
        store.migrate().await.unwrap();
        let [post, author, viewer] = [(); 3].map(|()| Uuid::now_v7());
        let row = doc! { "_id": bson::Uuid::from(post), "author_id": bson::Uuid::from(author), "title": "Tea",
        "body": "Water.", "version": 1_i64, "create_time": bson::DateTime::now(),
        "update_time": bson::DateTime::now() };
        store.collection::<Document>("post").insert_one(row).await.unwrap();
        // Ahead of the clock by which MongoDB removes what is old.
        let clock = ManualClock::at(OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap());
        let post = PostId::from_uuid(post);
        let processes = || async {
            let views: Vec<Views> = (0..8).map(|_| Views::default()).collect();
            for views in &views {
                views.record(UserId::from_uuid(viewer), &[post]).unwrap();
                views.record(UserId::from_uuid(author), &[post]).unwrap();
            }
            for flushed in join_all(views.iter().map(|views| views.try_flush(&store, &clock))).await {
                flushed.unwrap();
            }
            assert!(views.iter().all(|views| views.lock().is_empty()));
            store.post_counts(&[post]).await.unwrap()[&post].views
        };
        assert_eq!(processes().await, 1);
        clock.advance(time::Duration::DAY - time::Duration::SECOND);
        assert_eq!(processes().await, 1, "a second too early");
        clock.advance(time::Duration::SECOND);
        assert_eq!(processes().await, 2);
        assert_eq!(processes().await, 2);
    }

    #[test]
    fn too_many_views_are_refused_and_none_of_a_call_is_taken() {
        let views = Views::default();
        let (viewer, posts) = (UserId::from_uuid(Uuid::nil()), |count: u128, from: u128| {
            (from..from + count).map(|id| PostId::from_uuid(Uuid::from_u128(id))).collect::<Vec<_>>()
        });
        let most = WAITING_MAX as u128;
        views.record(viewer, &posts(most - 1, 0)).unwrap();
        let refused = views.record(viewer, &posts(2, most - 1)).unwrap_err();
        let crate::error::Error::Failure(failure) = &refused else { panic!("{refused:?}") };
        assert!(matches!(failure, Failure::Overloaded { .. }), "{failure:?}");
        assert_eq!(views.lock().len(), WAITING_MAX - 1);
        // Those that wait already are no more.
        views.record(viewer, &posts(100, 0)).unwrap();
        views.record(viewer, &posts(1, most - 1)).unwrap();
        assert_eq!(views.lock().len(), WAITING_MAX);
    }
}
