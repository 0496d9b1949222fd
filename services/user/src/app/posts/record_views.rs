//! Recording that somebody viewed posts.

use auth::Person;
use types::PostId;

use crate::app::App;
use crate::error::Result;

impl App {
    /// Takes the caller's views of these posts, to be counted within a second. Which of them are there is looked at then:
    /// nobody hears whether there are drafts.
    pub(crate) fn record_post_views(&self, caller: Person, posts: &[PostId]) -> Result<()> {
        self.views.record(caller.user_id, posts)
    }

    /// Counts what waits, for who does not wait for the worker.
    pub(crate) async fn flush_post_views(&self) -> Result<()> {
        self.views.try_flush(&self.store, &*self.clock).await
    }
}
