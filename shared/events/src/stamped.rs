//! Tells followers in the same process that events were stamped, so that they need not poll the database.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Shared by the sequencer or relay of a process and its [`crate::service::EventServer`]s, on all its threads.
#[derive(Debug, Clone)]
pub struct Stamped(Arc<watch::Sender<State>>);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Rises with each stamp.
    count: u64,
    /// When the sequencer of this process last looked for events.
    beat: Option<Instant>,
}

/// For this long after it last looked, the sequencer of this process is trusted to tell of every stamp.
const BEAT_TRUSTED: Duration = Duration::from_secs(1);

impl Default for Stamped {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }
}

impl Stamped {
    /// A signal that no sequencer gives yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The sequencer has looked for events, and perhaps stamped some.
    pub(crate) fn beat(&self, stamped: bool) {
        self.0.send_if_modified(|state| {
            state.beat = Some(Instant::now());
            state.count += u64::from(stamped);
            stamped
        });
    }

    pub(crate) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// One follower's view of the signal.
#[derive(Debug)]
pub(crate) struct Listener(watch::Receiver<State>);

impl Listener {
    /// Waits from now on for later stamps only.
    pub(crate) fn catch_up(&mut self) {
        self.0.borrow_and_update();
    }

    /// Waits for a stamp in this process.
    pub(crate) async fn stamped(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the stream is stamped in this process, so that [`Listener::stamped`] tells of everything.
    pub(crate) fn is_local(&self) -> bool {
        self.0.borrow().beat.is_some_and(|beat| beat.elapsed() < BEAT_TRUSTED)
    }
}
