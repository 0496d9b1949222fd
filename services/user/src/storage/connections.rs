//! Which connections the driver has made: the sequencer asks the server who it is again after each new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;

/// Counts a client's connections: each may have led to another replica set than those before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    made: AtomicU64,
    checked: AtomicU64,
}

impl Connections {
    /// Hears from the driver of each new one.
    pub(super) fn handler(&self) -> EventHandler<CmapEvent> {
        let counts = Arc::clone(&self.0);
        EventHandler::callback(move |event| {
            if matches!(event, CmapEvent::ConnectionReady(_)) {
                counts.made.fetch_add(1, Ordering::Relaxed);
            }
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
