//! A server inside another program: for tests.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use auth::SessionVerifier;
use tokio::task::JoinHandle;

use super::core::{Core, Stages};
use super::limits::Limits;
use super::run::{Prepared, prepare};
use super::{Service, listener};
use crate::admin::Vitals;
use crate::config::{LogFormat, ServerConfig, TelemetryConfig};
use crate::telemetry;
use crate::tls::Tls;

/// A server of one core on the present runtime. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    scheme: &'static str,
    stages: Stages,
    task: JoinHandle<()>,
}

impl Running {
    /// Where it listens, as a client wants it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// Lets health say `NOT_SERVING`, as SIGTERM does; calls are still served.
    pub fn begin_stop(&self) {
        self.stages.stopping.cancel();
    }

    /// Drains, stops the workers and waits for both.
    ///
    /// # Panics
    /// When the server panicked.
    pub async fn stop(mut self) {
        self.stages.stopping.cancel();
        self.stages.shutdown.cancel();
        (&mut self.task).await.expect("the server does not panic");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stages.stopping.cancel();
        self.stages.shutdown.cancel();
        self.stages.workers_stop.cancel();
        self.task.abort();
    }
}

/// Starts a server on the present runtime. Warnings go to standard error unless the program has a subscriber
/// already.
///
/// # Errors
/// When the address cannot be bound, the TLS files cannot be used or `start` fails.
pub async fn start_in_process<V, F, Fut>(
    config: ServerConfig,
    domain: &'static str,
    start: F,
) -> anyhow::Result<Running>
where
    V: SessionVerifier,
    F: FnOnce(Core) -> Fut,
    Fut: Future<Output = anyhow::Result<Service<V>>>,
{
    let tls = Tls::load(&config.tls)?;
    start_in_process_with(config, tls, domain, start).await
}

/// As [`start_in_process`], with TLS that was made elsewhere, and not by the configuration.
///
/// # Errors
/// Those of [`start_in_process`].
pub async fn start_in_process_with<V, F, Fut>(
    config: ServerConfig,
    tls: Tls,
    domain: &'static str,
    start: F,
) -> anyhow::Result<Running>
where
    V: SessionVerifier,
    F: FnOnce(Core) -> Fut,
    Fut: Future<Output = anyhow::Result<Service<V>>>,
{
    // Trace ids must exist in tests too. Without a collector there is nothing to flush.
    let quiet = TelemetryConfig {
        log_format: LogFormat::Human,
        log_filter: "warn".to_owned(),
        ..TelemetryConfig::default()
    };
    let _nothing_to_flush = telemetry::init("test", &quiet)?;
    let stages = Stages::default();
    let (addr, mut sockets) = listener::bind(config.listen, 1)?;
    let socket = sockets.pop().context("one socket was asked for")?;
    let scheme = if tls.serves() { "https" } else { "http" };
    let core = Core::new(0, 1, stages.clone(), Vitals::of(1), tls);
    let service = start(core.clone()).await?;
    let limits = Limits::new(&config);
    let prepared = prepare(&core, service, Arc::new(config), domain, limits)?;
    listener::unshared(addr)?;
    let listener = listener::listen(socket)?;
    let workers_stop = stages.workers_stop.clone();
    let serve = async move {
        Prepared::serve(&prepared, &core, listener).await;
        workers_stop.cancel();
        prepared.stop_workers(&core).await;
    };
    #[expect(clippy::disallowed_methods, reason = "the handle is waited for in stop")]
    let task = tokio::spawn(serve);
    Ok(Running { addr, scheme, stages, task })
}
