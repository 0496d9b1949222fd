//! What is done in batches, again and again. Documents of earlier releases are brought up to the present form, which
//! processes of the release before may still be writing against. The likes of deleted posts are removed.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;
use crate::app::relations::{EDGES_MOST, Leaving};
use crate::error::Result;
use crate::storage::{SearchFill, Store};

/// Posts or users of one batch.
const BATCH: u32 = 500;
/// How often it is looked for more. Where there is none, that is one look at the beginning of an index.
const EVERY: Duration = Duration::from_secs(10);

const SWEEPER: &str = "likes_of_deleted_posts";
/// Longer than one transaction of likes takes.
const SWEEPER_LEASE: Duration = Duration::from_secs(10);
/// How often deleted posts are looked for.
const SWEPT_EVERY: Duration = Duration::from_secs(2);
/// Longer than a call that read a post before it was deleted may take to like it.
const SWEPT_AGAIN: Duration = Duration::from_secs(10);
/// Deleted posts that are looked for at once.
const POSTS: i64 = 100;

/// Fills the states of posts that have none, until `stop` is cancelled.
pub(crate) async fn fill_post_states(store: Store, stop: CancellationToken) {
    repeat("the states of posts", stop, || fill_states(&store)).await;
}

/// Makes and mends what users are found by, until `stop` is cancelled.
pub(crate) async fn fill_user_search(store: Store, stop: CancellationToken) {
    repeat("what users are found by", stop, || fill_search(&store)).await;
}

/// Does something again and again, and says what came of it.
async fn repeat<F>(what: &'static str, stop: CancellationToken, fill: impl Fn() -> F)
where
    F: Future<Output = Result<usize>>,
{
    loop {
        match stop.run_until_cancelled(fill()).await {
            None => return,
            Some(Ok(0)) => {}
            Some(Ok(count)) => tracing::info!(what, count, "filled"),
            Some(Err(error)) => {
                tracing::warn!(what, error = &error as &dyn std::error::Error, "cannot fill");
            }
        }
        let pause = EVERY.mul_f64(0.75 + 0.5 * fastrand::f64());
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Batch after batch, until one is not full.
async fn fill_states(store: &Store) -> Result<usize> {
    let mut count = 0;
    loop {
        let filled = store.post_states_fill(i64::from(BATCH)).await?;
        count += filled;
        if u32::try_from(filled) != Ok(BATCH) {
            return Ok(count);
        }
    }
}

/// Removes the likes of deleted posts, until `stop` is cancelled. One replica at a time does.
pub(crate) async fn remove_likes_of_deleted_posts(app: App, stop: CancellationToken) {
    let owner = app.next_id();
    loop {
        let pause = SWEPT_EVERY.mul_f64(0.75 + 0.5 * fastrand::f64());
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        match stop.run_until_cancelled(sweep(&app, owner)).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "cannot remove the likes of deleted posts");
            }
        }
    }
}

/// Removes the likes of the posts that are due: each a first time, and a last time when no call that would like it is on its
/// way any more.
async fn sweep(app: &App, owner: Uuid) -> Result<()> {
    let lease = || app.store.worker_lease(SWEEPER, owner, SWEEPER_LEASE);
    loop {
        let Some(now) = lease().await? else { return Ok(()) };
        let due = app.store.deleted_post_list_due(now, POSTS).await?;
        for post in &due {
            while app.relations_remove_some(Leaving::LikesOfPost(post.post())).await? == EDGES_MOST {
                if lease().await?.is_none() {
                    return Ok(());
                }
            }
            if post.was_swept() {
                app.store.deleted_post_forget(post.post()).await?;
            } else {
                app.store.deleted_post_put_off(post.post(), now + SWEPT_AGAIN).await?;
            }
        }
        if i64::try_from(due.len()) != Ok(POSTS) {
            return Ok(());
        }
    }
}

/// Everybody once, from where any process has come to; then whoever has changed since.
pub(crate) async fn fill_search(store: &Store) -> Result<usize> {
    let mut count = 0;
    loop {
        match store.user_search_mark().await? {
            SearchFill::Changed(since) => {
                return Ok(count + store.user_search_fill_changed(since, BATCH).await?);
            }
            SearchFill::Walk(after) => match store.user_walk(after).await? {
                None => store.user_search_walked().await?,
                Some(mut walk) => {
                    while !walk.is_over() {
                        count += store.user_search_fill(&mut walk).await?;
                    }
                }
            },
        }
    }
}
