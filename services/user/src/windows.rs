//! Which posts compete for being popular in the last day, week and month. What is published comes into these windows by its
//! event (`consumers/counters.rs`); here posts leave them, and older ones come into them that no event tells of any more.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use types::Clock;

use crate::domain::counters::Window;
use crate::error::{Error, Result};
use crate::storage::Store;

/// Posts of one batch.
const BATCH: i64 = 500;
/// As many, where posts are listed.
const LISTED: u32 = 500;
/// How often it is looked for more. Where there is none, that is one look at the beginning of an index.
const EVERY: Duration = Duration::from_secs(10);

/// Takes posts out of the windows that they are too old for, until `stop` is cancelled.
pub(crate) async fn leave(store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        match stop.run_until_cancelled(leave_all(&store, &*clock)).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => warn(&error, "cannot take old posts from the popular ones"),
        }
        if !pause(&stop).await {
            return;
        }
    }
}

async fn leave_all(store: &Store, clock: &dyn Clock) -> Result<()> {
    for window in Window::ALL {
        while i64::try_from(store.post_window_leave(window, clock.now(), BATCH).await?) == Ok(BATCH) {}
    }
    Ok(())
}

/// Puts the posts of the last month into the windows that they are in none of. Ends when that is done, and no post is left
/// without a state, as an earlier release wrote them.
pub(crate) async fn fill(store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        match stop.run_until_cancelled(fill_all(&store, &*clock)).await {
            None | Some(Ok(true)) => return,
            Some(Ok(false)) => {}
            Some(Err(error)) => warn(&error, "cannot put older posts among the popular ones"),
        }
        if !pause(&stop).await {
            return;
        }
    }
}

async fn fill_all(store: &Store, clock: &dyn Clock) -> Result<bool> {
    let have_states = store.post_states_are_filled().await?;
    let mut after = None;
    loop {
        after = store.post_windows_fill(after, clock.now(), LISTED).await?;
        if after.is_none() {
            return Ok(have_states);
        }
    }
}

fn warn(error: &Error, what: &'static str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}

/// Waits for the next time; `false` when it is to stop.
async fn pause(stop: &CancellationToken) -> bool {
    let pause = EVERY.mul_f64(0.75 + 0.5 * fastrand::f64());
    stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some()
}
