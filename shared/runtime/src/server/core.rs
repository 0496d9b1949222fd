//! What a service is told about the core that it runs on, and its background workers.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use events::Bus;
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::admin::Vitals;
use crate::client::{Identities, Peer};
use crate::dependencies::Dependencies;
use crate::tls::Tls;
use types::WORKER;

/// How often the Redis for events is asked.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// One of the single-threaded runtimes that serve.
#[derive(Debug, Clone)]
pub struct Core {
    /// Its number, from 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
    /// Calls are being drained: streams end, nothing new begins.
    pub shutdown: CancellationToken,
    /// The calls of all cores are over: background workers end.
    pub workers_stop: CancellationToken,
    /// The background workers, waited for at the end.
    pub tracker: TaskTracker,
    /// TLS of the process, for clients of peers.
    pub tls: Tls,
    pub(super) stages: Stages,
    /// What the admin port tells of all cores.
    pub(super) vitals: Vitals,
}

/// The way to the end, shared by all cores.
#[derive(Debug, Clone, Default)]
pub(super) struct Stages {
    /// Every core has started: they may listen.
    pub(super) started: CancellationToken,
    /// The process is to stop: health says `NOT_SERVING`, calls are still served.
    pub(super) stopping: CancellationToken,
    /// No new connections, connections are told to go away, streams end.
    pub(super) shutdown: CancellationToken,
    /// No call is left.
    pub(super) workers_stop: CancellationToken,
    /// No worker is left on any core: nobody uses a connection that answers on another core's runtime.
    pub(super) over: CancellationToken,
    /// A background worker panicked.
    pub(super) failed: CancellationToken,
}

impl Core {
    pub(super) fn new(index: usize, count: usize, stages: Stages, vitals: Vitals, tls: Tls) -> Self {
        Self {
            index,
            count,
            shutdown: stages.shutdown.clone(),
            workers_stop: stages.workers_stop.clone(),
            tracker: TaskTracker::new(),
            tls,
            stages,
            vitals,
        }
    }

    /// One of so many, for tests of what cores share.
    #[cfg(test)]
    pub(crate) fn of(index: usize, count: usize) -> Self {
        Self::new(index, count, Stages::default(), Vitals::of(count), Tls::off())
    }

    /// Whether it is the one that the workers of the process run on.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.index == 0
    }

    /// What the process depends on, for whoever finds out whether it answers.
    #[must_use]
    pub fn dependencies(&self) -> &Dependencies {
        self.vitals.dependencies()
    }

    /// Watches who the peers of the process are and whether they can be called, until its workers are stopped. One core does
    /// this, with all of them.
    pub fn watch_peers(&self, identities: &Identities, peers: Vec<Peer>) {
        let watch = identities.clone().watch(peers, self.dependencies().clone(), self.workers_stop.clone());
        self.spawn("peers", watch);
    }

    /// Asks the Redis for events whether it answers, until the workers of the process are stopped. One core does this.
    pub fn watch_event_bus(&self, bus: Bus) {
        let (dependencies, stop) = (self.dependencies().clone(), self.workers_stop.clone());
        self.spawn("event-redis", async move {
            let watch = async {
                loop {
                    let answer = bus.ping().await.map_err(|error| types::chain(&error));
                    dependencies.report("event_redis", 0, answer);
                    tokio::time::sleep(ASK_EVERY).await;
                }
            };
            let _stopped = stop.run_until_cancelled(watch).await;
        });
    }

    /// Runs a background worker on this core. It must end soon after [`Core::workers_stop`]. A panic is logged,
    /// and the process shuts down: whoever restarts it restarts the worker.
    pub fn spawn<F>(&self, name: &'static str, worker: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let failed = self.stages.failed.clone();
        let span = tracing::info_span!(target: WORKER, "worker", name);
        let watched = async move {
            if AssertUnwindSafe(worker).catch_unwind().await.is_err() {
                tracing::error!(worker = name, "a background worker panicked; shutting down");
                failed.cancel();
            }
        };
        self.tracker.spawn(watched.instrument(span));
    }
}
