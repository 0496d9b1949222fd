//! Tells followers in the same process that events were stamped, so that they need no poll for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Shared by a process' sequencer or relay and its [`crate::service::EventServer`]s, on whatever threads.
#[derive(Debug, Clone)]
pub struct Stamped(Arc<watch::Sender<State>>);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Rises with each stamp.
    count: u64,
    /// When the sequencer of this process last went round.
    beat: Option<Instant>,
}

/// How long after its last round a sequencer in this process is still trusted to tell of everything.
const BEAT_TRUSTED: Duration = Duration::from_secs(1);

impl Default for Stamped {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }
}

impl Stamped {
    /// A signal that nobody gives yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more round of the sequencer.
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

/// One follower's ear.
#[derive(Debug)]
pub(crate) struct Listener(watch::Receiver<State>);

impl Listener {
    /// Everything up to now is known.
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
