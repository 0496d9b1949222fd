//! What brings documents of earlier releases up to the present form: in batches, again and again, since processes of the
//! release before may still be writing.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::storage::Store;

/// Posts of one batch.
const BATCH: i64 = 500;
/// How often it is looked for more. Where there is none, that is one look at the beginning of an index.
const EVERY: Duration = Duration::from_secs(10);

/// Fills the states of posts that have none, until `stop` is cancelled.
pub(crate) async fn fill_post_states(store: Store, stop: CancellationToken) {
    loop {
        match stop.run_until_cancelled(fill(&store)).await {
            None => return,
            Some(Ok(0)) => {}
            Some(Ok(count)) => tracing::info!(count, "filled the states of posts"),
            Some(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot fill the states of posts")
            }
        }
        let pause = EVERY.mul_f64(0.75 + 0.5 * fastrand::f64());
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Batch after batch, until one is not full.
async fn fill(store: &Store) -> Result<usize> {
    let mut count = 0;
    loop {
        let filled = store.post_states_fill(BATCH).await?;
        count += filled;
        if i64::try_from(filled) != Ok(BATCH) {
            return Ok(count);
        }
    }
}
