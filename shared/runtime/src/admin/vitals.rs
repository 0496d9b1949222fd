//! What the cores of a process say of themselves.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::dependencies::Dependencies;

/// How often a core notes that its event loop turns.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// A core that has noted nothing for so long is stuck: work that takes long is not done on the event loop.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// The state of all cores. Cheap to clone: one for the process.
#[derive(Debug, Clone)]
pub(crate) struct Vitals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    cores: Vec<OfCore>,
    dependencies: Dependencies,
}

#[derive(Debug)]
struct OfCore {
    /// When its loop turned last, in milliseconds since the beginning.
    turned_ms: AtomicU64,
    /// Why it does not serve; `None` while it does.
    hindrance: Mutex<Option<String>>,
}

impl Vitals {
    /// Of so many cores, none of which serves yet.
    pub(crate) fn of(cores: usize) -> Self {
        let core = |_| OfCore {
            turned_ms: AtomicU64::new(0),
            hindrance: Mutex::new(Some("it has not started yet".to_owned())),
        };
        let cores = (0..cores).map(core).collect();
        Self(Arc::new(Inner { began: Instant::now(), cores, dependencies: Dependencies::default() }))
    }

    /// Notes for ever that the event loop which runs this turns.
    pub(crate) async fn beat(&self, core: usize) -> Infallible {
        loop {
            if let Some(core) = self.0.cores.get(core) {
                core.turned_ms.store(self.passed_ms(), Ordering::Relaxed);
            }
            sleep(BEAT_EVERY).await;
        }
    }

    /// Notes that a core serves, or why it does not.
    pub(crate) fn set(&self, core: usize, hindrance: Option<String>) {
        if let Some(core) = self.0.cores.get(core) {
            *core.hindrance.lock().unwrap_or_else(PoisonError::into_inner) = hindrance;
        }
    }

    /// The cores whose event loops do not turn, and for how long.
    pub(crate) fn stuck(&self) -> Vec<(usize, Duration)> {
        let now = self.passed_ms();
        let still =
            |core: &OfCore| Duration::from_millis(now.saturating_sub(core.turned_ms.load(Ordering::Relaxed)));
        let stuck = |(index, core)| Some((index, still(core))).filter(|(_, still)| *still > STUCK_AFTER);
        self.0.cores.iter().enumerate().filter_map(stuck).collect()
    }

    /// Why the process does not serve, each reason once; none when every core does.
    pub(crate) fn hindrances(&self) -> Vec<String> {
        let of_core = |core: &OfCore| core.hindrance.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all: Vec<String> = self.0.cores.iter().filter_map(of_core).collect();
        all.sort();
        all.dedup();
        all
    }

    /// What the process depends on.
    pub(crate) fn dependencies(&self) -> &Dependencies {
        &self.0.dependencies
    }

    fn passed_ms(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_core_is_stuck_when_its_loop_has_not_turned_for_ten_seconds() {
        let vitals = Vitals::of(2);
        let beats = timeout(Duration::from_secs(60), vitals.beat(0));
        assert!(beats.await.is_err());
        assert_eq!(vitals.stuck(), [(1, Duration::from_secs(60))]);
        advance(STUCK_AFTER).await;
        assert_eq!(vitals.stuck().len(), 1, "just ten seconds are not longer");
        advance(Duration::from_millis(1)).await;
        assert_eq!(vitals.stuck().len(), 2);
    }

    #[tokio::test]
    async fn each_reason_is_told_once_and_none_while_every_core_serves() {
        let vitals = Vitals::of(3);
        assert_eq!(vitals.hindrances(), ["it has not started yet"]);
        vitals.set(0, None);
        vitals.set(1, Some("the database is away".to_owned()));
        assert_eq!(vitals.hindrances(), ["it has not started yet", "the database is away"]);
        vitals.set(1, None);
        vitals.set(2, None);
        assert!(vitals.hindrances().is_empty());
    }
}
