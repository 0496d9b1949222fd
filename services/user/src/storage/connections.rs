//! Which connections the driver has made: the sequencer asks the server who it is again after each new one. And how many
//! there are, for metrics.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use metrics::database::Waits;
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::ServerAddress;

/// Counts the connections of a client, and of those that replace it: each may have led to another replica set than those
/// before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    made: AtomicU64,
    checked: AtomicU64,
}

/// Those of one client.
#[derive(Debug)]
struct OfClient {
    most: usize,
    /// Those in use, by server and number: the driver tells of the return of some that it never told of as taken, when
    /// whoever waited for them went away.
    used: Mutex<HashSet<(u64, u32)>>,
}

impl OfClient {
    fn new(most: usize) -> Self {
        OF_PROCESS.0.most.fetch_add(most, Ordering::Relaxed);
        Self { most, used: Mutex::default() }
    }

    fn used(&self) -> MutexGuard<'_, HashSet<(u64, u32)>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One is not in use, if it was.
    fn returned(&self, address: &ServerAddress, id: u32) {
        if self.used().remove(&key(address, id)) {
            OF_PROCESS.0.used.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for OfClient {
    fn drop(&mut self) {
        OF_PROCESS.0.used.fetch_sub(self.used().len(), Ordering::Relaxed);
        OF_PROCESS.0.most.fetch_sub(self.most, Ordering::Relaxed);
    }
}

fn key(address: &ServerAddress, id: u32) -> (u64, u32) {
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    (hasher.finish(), id)
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
    /// Hears from the driver of each connection of a client. At the most there are `most`.
    pub(super) fn handler(&self, most: usize) -> EventHandler<CmapEvent> {
        let (counts, client) = (Arc::clone(&self.0), OfClient::new(most));
        let (all, waits) = &*OF_PROCESS;
        EventHandler::callback(move |event| match event {
            CmapEvent::ConnectionReady(_) => {
                counts.made.fetch_add(1, Ordering::Relaxed);
            }
            CmapEvent::ConnectionCreated(_) => {
                all.open.fetch_add(1, Ordering::Relaxed);
            }
            CmapEvent::ConnectionClosed(closed) => {
                all.open.fetch_sub(1, Ordering::Relaxed);
                client.returned(&closed.address, closed.connection_id);
            }
            CmapEvent::ConnectionCheckedOut(taken) => {
                if client.used().insert(key(&taken.address, taken.connection_id)) {
                    all.used.fetch_add(1, Ordering::Relaxed);
                }
                waits.got(taken.duration);
            }
            CmapEvent::ConnectionCheckedIn(back) => client.returned(&back.address, back.connection_id),
            _ => {}
        })
    }

    /// Somebody has given up an exchange. If all connections are in use, it is for one that they waited; the driver itself
    /// sets no limit to that, and tells of none.
    pub(super) fn gave_up() {
        let (all, waits) = &*OF_PROCESS;
        let most = all.most.load(Ordering::Relaxed);
        if most > 0 && all.used.load(Ordering::Relaxed) >= most {
            waits.gave_up();
        }
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
