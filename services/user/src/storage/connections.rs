//! Which connections the driver has made: the sequencer asks the server who it is again after each new one. And how many
//! there are, for metrics.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use metrics::database::Waits;
use mongodb::event::EventHandler;
use mongodb::event::cmap::{CmapEvent, ConnectionCheckoutFailedReason};

/// Counts a client's connections: each may have led to another replica set than those before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    made: AtomicU64,
    checked: AtomicU64,
}

/// Those of all clients of the process, for metrics.
#[derive(Debug, Default)]
struct OfProcess {
    open: AtomicUsize,
    used: AtomicUsize,
    most: AtomicUsize,
}

static OF_PROCESS: LazyLock<(Arc<OfProcess>, Waits)> = LazyLock::new(|| {
    let all = Arc::new(OfProcess::default());
    let counted = Arc::clone(&all);
    let waits = Waits::of("mongodb", move || {
        let [open, used, most] =
            [&counted.open, &counted.used, &counted.most].map(|count| count.load(Ordering::Relaxed));
        Some(metrics::database::Connections { open, idle: open.saturating_sub(used), most })
    });
    (all, waits)
});

impl Connections {
    /// Hears from the driver of each of them. At the most there are `most`.
    pub(super) fn handler(&self, most: usize) -> EventHandler<CmapEvent> {
        let counts = Arc::clone(&self.0);
        let (all, waits) = &*OF_PROCESS;
        all.most.fetch_add(most, Ordering::Relaxed);
        EventHandler::callback(move |event| match event {
            CmapEvent::ConnectionReady(_) => {
                counts.made.fetch_add(1, Ordering::Relaxed);
            }
            CmapEvent::ConnectionCreated(_) => {
                all.open.fetch_add(1, Ordering::Relaxed);
            }
            CmapEvent::ConnectionClosed(_) => {
                all.open.fetch_sub(1, Ordering::Relaxed);
            }
            CmapEvent::ConnectionCheckedOut(checked_out) => {
                all.used.fetch_add(1, Ordering::Relaxed);
                waits.got(checked_out.duration);
            }
            CmapEvent::ConnectionCheckedIn(_) => {
                all.used.fetch_sub(1, Ordering::Relaxed);
            }
            CmapEvent::ConnectionCheckoutFailed(failed)
                if failed.reason == ConnectionCheckoutFailedReason::Timeout =>
            {
                waits.gave_up();
            }
            _ => {}
        })
    }

    pub(super) fn are_checked(&self) -> bool {
        self.made() == self.0.checked.load(Ordering::Relaxed)
    }

    pub(super) fn made(&self) -> u64 {
        self.0.made.load(Ordering::Relaxed)
    }

    /// The server was looked at after so many were made.
    pub(super) fn check(&self, made: u64) {
        self.0.checked.store(made, Ordering::Relaxed);
    }
}
