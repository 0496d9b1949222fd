//! What brings documents of earlier releases up to the present form: in batches, again and again, since processes of the
//! release before may still be writing.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::rounds::repeat;
use crate::storage::{SearchFill, Store};

/// Posts or users of one batch.
const BATCH: u32 = 500;
/// How often it is looked for more. Where there is none, that is one look at the beginning of an index.
const EVERY: Duration = Duration::from_secs(10);

/// Fills the states of posts that have none, until `stop` is cancelled.
pub(crate) async fn fill_post_states(store: Store, stop: CancellationToken) {
    let what = "the states of posts";
    fill(what, "cannot fill the states of posts", stop, || fill_states(&store)).await;
}

/// Makes and mends what users are found by, until `stop` is cancelled.
pub(crate) async fn fill_user_search(store: Store, stop: CancellationToken) {
    let what = "what users are found by";
    fill(what, "cannot fill what users are found by", stop, || fill_search(&store)).await;
}

/// Does one of them, and says how many documents it has written.
async fn fill<F>(what: &'static str, failed: &'static str, stop: CancellationToken, write: impl Fn() -> F)
where
    F: Future<Output = Result<usize>>,
{
    let round = || async {
        let count = write().await?;
        if count > 0 {
            tracing::info!(what, count, "filled");
        }
        Ok(ControlFlow::Continue(()))
    };
    repeat(EVERY, failed, stop, round).await;
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
