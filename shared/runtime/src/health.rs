//! Whether the service can do its work: its own database answers, and it is not about to stop. Peers that are away do
//! not count, since services that wait for each other never start. One that is something else than the service that is
//! meant does ([`Readiness::with_peers`]).

mod statuses;

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::health_check_response::ServingStatus;

pub(crate) use self::statuses::Statuses;

use crate::admin::Vitals;
use crate::client::Identities;
use crate::dependencies::Dependencies;

const INTERVAL: Duration = Duration::from_secs(1);
/// A probe that takes longer has failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// A single failure may be an accident, so it takes several in a row.
const FAILURES_MAX: u32 = 3;

/// Asks the service's own database whether it answers and is migrated.
#[derive(Clone)]
pub struct Readiness {
    /// What the database is called among the dependencies.
    database: Option<&'static str>,
    probe: Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
    peers: Option<Identities>,
}

impl Readiness {
    /// A probe of the database with this name, such as `postgresql`, run every second.
    pub fn new<F, Fut, E>(database: &'static str, probe: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        Self { database: Some(database), ..Self::of(probe) }
    }

    fn of<F, Fut, E>(probe: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let probe = move || -> BoxFuture<'static, Result<(), String>> {
            let probe = probe();
            Box::pin(async move { probe.await.map_err(|error| error.to_string()) })
        };
        Self { database: None, probe: Arc::new(probe), peers: None }
    }

    /// Not ready, too, while the address of a peer leads to something else and never led to that peer.
    #[must_use]
    pub fn with_peers(self, peers: Identities) -> Self {
        Self { peers: Some(peers), ..self }
    }

    /// For a server that depends on nothing.
    #[must_use]
    pub fn always() -> Self {
        Self::of(|| std::future::ready(Ok::<(), String>(())))
    }

    /// Why the service cannot do its work, if it cannot; and tells `dependencies` of the database.
    async fn outcome(&self, core: usize, dependencies: &Dependencies) -> Result<(), String> {
        let own = timeout(PROBE_TIMEOUT, (self.probe)()).await;
        let own = own.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        if let Some(database) = self.database {
            dependencies.report(database, core, own.clone());
        }
        own?;
        match &self.peers {
            Some(peers) => peers.reason().await.map_or(Ok(()), Err),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Readiness(..)")
    }
}

/// The pause after the first probe of one of so many cores. After it they probe one after the other, and need fewer
/// connections for that than if all did at the same moment.
pub(crate) fn first_pause(index: usize, count: usize) -> Duration {
    let part = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    INTERVAL * part(index + 1) / part(count).max(1)
}

/// Who is told whether a core serves: callers, by the health protocol, and whoever runs the process, by the admin port.
pub(crate) struct Told {
    pub(crate) statuses: Statuses,
    pub(crate) services: Vec<String>,
    pub(crate) vitals: Vitals,
    /// The number of the core.
    pub(crate) core: usize,
}

impl Told {
    fn serving(&self) {
        self.vitals.set(self.core, None);
        self.statuses.set(&self.services, ServingStatus::Serving);
    }

    fn not_serving(&self, why: &str) {
        self.still_not_serving(why);
        self.statuses.set(&self.services, ServingStatus::NotServing);
    }

    /// The reason may be another one. Those who watch the health are not woken for that.
    fn still_not_serving(&self, why: &str) {
        self.vitals.set(self.core, Some(why.to_owned()));
    }
}

/// Probes until `stop`, then reports `NOT_SERVING` for good.
pub(crate) async fn watch(readiness: Readiness, first_pause: Duration, told: Told, stop: CancellationToken) {
    let mut serving = false;
    let mut failures = 0;
    let mut pause = first_pause;
    loop {
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            outcome = readiness.outcome(told.core, told.vitals.dependencies()) => outcome,
        };
        match outcome {
            Ok(()) => {
                failures = 0;
                if !serving {
                    serving = true;
                    tracing::info!("serving");
                    told.serving();
                }
            }
            Err(error) => {
                failures += 1;
                let error = crate::config::redact_url(&error);
                if serving && failures >= FAILURES_MAX {
                    serving = false;
                    tracing::warn!(error, "not serving: the probe failed {FAILURES_MAX} times in a row");
                    told.not_serving(&error);
                } else if !serving {
                    if failures == 1 {
                        tracing::warn!(error, "not serving yet");
                    }
                    told.still_not_serving(&error);
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
        pause = INTERVAL;
        crate::telemetry::tell_repeats();
    }
    told.not_serving("the process is about to stop");
}
