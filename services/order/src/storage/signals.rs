//! What the stores of all cores of this process tell each other.

use tokio::sync::Notify;

/// Tells the sequencer that there is something to stamp.
#[derive(Debug, Default)]
pub struct Signals {
    appended: Notify,
}

impl Signals {
    /// An event was committed.
    pub(super) fn appended(&self) {
        self.appended.notify_one();
    }

    /// Resolves when an event was committed since the last time.
    pub(super) async fn wait_for_append(&self) {
        self.appended.notified().await;
    }
}
