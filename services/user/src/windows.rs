//! Which posts compete for being popular in the last day, week and month. What is published comes into these windows by its
//! event (`consumers/counters.rs`); here posts leave them, and older ones come into them that no event tells of any more.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use types::Clock;

use crate::domain::counters::Window;
use crate::error::Result;
use crate::rounds::repeat;
use crate::storage::Store;

/// Posts of one batch.
const BATCH: i64 = 500;
/// As many, where posts are listed.
const LISTED: u32 = 500;
/// How often it is looked for more. Where there is none, that is one look at the beginning of an index.
const EVERY: Duration = Duration::from_secs(10);

/// Takes posts out of the windows that they are too old for, until `stop` is cancelled.
pub(crate) async fn leave(store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let failed = "cannot take old posts from the popular ones";
    repeat(EVERY, failed, stop, || leave_all(&store, &*clock)).await;
}

async fn leave_all(store: &Store, clock: &dyn Clock) -> Result<ControlFlow<()>> {
    for window in Window::ALL {
        while i64::try_from(store.post_window_leave(window, clock.now(), BATCH).await?) == Ok(BATCH) {}
    }
    Ok(ControlFlow::Continue(()))
}

/// Puts the posts of the last month into the windows that they are in none of. Ends when that is done, and no post is left
/// without a state, as an earlier release wrote them.
pub(crate) async fn fill(store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let failed = "cannot put older posts among the popular ones";
    repeat(EVERY, failed, stop, || fill_all(&store, &*clock)).await;
}

async fn fill_all(store: &Store, clock: &dyn Clock) -> Result<ControlFlow<()>> {
    let have_states = store.post_states_are_filled().await?;
    let mut after = None;
    loop {
        after = store.post_windows_fill(after, clock.now(), LISTED).await?;
        if after.is_none() {
            return Ok(if have_states { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
        }
    }
}
