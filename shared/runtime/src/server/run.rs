//! The process: its cores, its signals, its end.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, anyhow};
use auth::SessionVerifier;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::TaskTracker;

use super::call::{Calls, Pipeline};
use super::connection::Connections;
use super::core::{Core, Stages};
use super::errors::Errors;
use super::layers::Layers;
use super::limits::Limits;
use super::methods::Methods;
use super::{Service, listener};
use crate::admin::{self, Vitals};
use crate::config::{ServerConfig, TelemetryConfig, misnamed};
use crate::health::Told;
use crate::tls::Tls;
use crate::{health, reflection, telemetry};

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends the process at once.
///
/// `start` is called once on each core, inside its runtime: clients of databases and peers are made there.
/// `domain` is the one of the service's errors, such as `order.tristore`.
///
/// # Errors
/// When a core cannot start, or a background worker panicked.
#[expect(clippy::needless_pass_by_value, reason = "a process has one, and this is its end")]
pub fn run<V, F, Fut>(
    name: &'static str,
    server: ServerConfig,
    telemetry: TelemetryConfig,
    domain: &'static str,
    start: F,
) -> anyhow::Result<()>
where
    V: SessionVerifier,
    F: Fn(Core) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = anyhow::Result<Service<V>>>,
{
    let supervisor = single_threaded()?;
    supervisor.block_on(async {
        let guard = telemetry::init(name, &telemetry)?;
        for variable in misnamed() {
            let (name, meant) = (variable.name(), variable.meant());
            tracing::warn!(
                name,
                meant,
                "a variable of the environment is not known, and looks like a setting"
            );
        }
        let result = supervise(name, server, domain, start).await;
        if let Err(error) = &result {
            tracing::error!(error = format!("{error:#}"), "stopped by an error");
        }
        guard.flush().await;
        result
    })
}

fn single_threaded() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("making a tokio runtime")
}

/// What a core tells its supervisor.
enum Report {
    /// It could serve now, and waits for the others.
    Started,
    /// Its calls are over.
    Drained,
    /// Its workers are over too.
    Stopped,
    /// It is gone, or failed.
    Ended(anyhow::Result<()>),
}

/// What all cores are made of.
struct Plan<F> {
    config: Arc<ServerConfig>,
    domain: &'static str,
    limits: Arc<Limits>,
    stages: Stages,
    tls: Tls,
    start: F,
}

async fn supervise<V, F, Fut>(
    name: &'static str,
    config: ServerConfig,
    domain: &'static str,
    start: F,
) -> anyhow::Result<()>
where
    V: SessionVerifier,
    F: Fn(Core) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = anyhow::Result<Service<V>>>,
{
    let mut signals = Signals::new()?;
    let tls = Tls::load(&config.tls)?;
    metrics::cores(config.threads);
    let vitals = Vitals::of(config.threads);
    admin::measure(name, &config.source_revision, &vitals);
    let admin = admin::start(admin::address(&config)?, vitals.clone())?;
    tracing::info!(address = %admin, "the admin port is open");
    let (address, sockets) = listener::bind(config.listen, config.threads)?;
    let config = Arc::new(config);
    let stages = Stages::default();
    let plan = Arc::new(Plan {
        limits: Limits::new(&config),
        config: Arc::clone(&config),
        domain,
        stages: stages.clone(),
        tls,
        start,
    });
    let count = sockets.len();
    let (reports, mut inbox) = mpsc::channel(4 * count);
    for (index, socket) in sockets.into_iter().enumerate() {
        let (plan, reports, vitals) = (Arc::clone(&plan), reports.clone(), vitals.clone());
        let core = move || {
            metrics::on_core(index);
            let core = Core::new(index, count, plan.stages.clone(), vitals, plan.tls.clone());
            let run = AssertUnwindSafe(|| run_core(&plan, &core, socket, address, &reports));
            // A core that is gone must not leave the others serving as if nothing had happened.
            let ended = catch_unwind(run).unwrap_or_else(|_| Err(anyhow!("core {index} panicked")));
            let _nobody_left = reports.blocking_send(Report::Ended(ended));
        };
        thread::Builder::new().name(format!("core-{index}")).spawn(core).context("starting a core")?;
    }
    drop(reports);
    let cores = Cores { address, count };
    conclude(&mut signals, &mut inbox, &config, &stages, cores).await
}

/// How many cores there are, and the address where all of them listen.
#[derive(Clone, Copy)]
struct Cores {
    address: SocketAddr,
    count: usize,
}

/// Lets the cores listen once all of them have started, waits for the end, and leads through its stages.
async fn conclude(
    signals: &mut Signals,
    inbox: &mut mpsc::Receiver<Report>,
    config: &ServerConfig,
    stages: &Stages,
    Cores { address, count }: Cores,
) -> anyhow::Result<()> {
    let mut result = Ok(());
    let (mut started, mut drained, mut stopped, mut ended) = (0, 0, 0, 0);
    let mut shutdown_at: Option<Instant> = None;
    while ended < count {
        let stopping = shutdown_at.is_some();
        tokio::select! {
            name = signals.next() => {
                if stopping {
                    tracing::warn!(signal = name, "a second signal: exiting at once");
                    telemetry::flush_log();
                    std::process::exit(1);
                }
                tracing::info!(signal = name, "stopping");
                stages.stopping.cancel();
                shutdown_at = Some(Instant::now() + config.drain_delay);
            }
            () = stages.failed.cancelled(), if !stopping => {
                result = Err(anyhow!("a background worker panicked"));
                stages.stopping.cancel();
                shutdown_at = Some(Instant::now());
            }
            () = sleep_until(shutdown_at.unwrap_or_else(Instant::now)), if stopping && !stages.shutdown.is_cancelled() => {
                stages.shutdown.cancel();
            }
            report = inbox.recv() => match report {
                Some(Report::Started) => {
                    started += 1;
                    if started == count && !stopping {
                        match listener::unshared(address) {
                            Ok(()) => stages.started.cancel(),
                            Err(error) => {
                                result = Err(error);
                                stages.stopping.cancel();
                                shutdown_at = Some(Instant::now());
                            }
                        }
                    }
                }
                Some(Report::Drained) => drained += 1,
                Some(Report::Stopped) => stopped += 1,
                Some(Report::Ended(core)) => {
                    ended += 1;
                    // A core that failed on its way leaves nothing to drain or to stop.
                    if let Err(error) = core {
                        drained += 1;
                        stopped += 1;
                        result = result.and(Err(error));
                    }
                    stages.stopping.cancel();
                    shutdown_at.get_or_insert_with(Instant::now);
                }
                None => return result.and(Err(anyhow!("a core panicked"))),
            },
        }
        if drained >= count {
            stages.workers_stop.cancel();
        }
        if stopped >= count {
            stages.over.cancel();
        }
    }
    tracing::info!("stopped");
    result
}

fn run_core<V, F, Fut>(
    plan: &Plan<F>,
    core: &Core,
    socket: TcpSocket,
    address: SocketAddr,
    reports: &mpsc::Sender<Report>,
) -> anyhow::Result<()>
where
    V: SessionVerifier,
    F: Fn(Core) -> Fut,
    Fut: Future<Output = anyhow::Result<Service<V>>>,
{
    let run = async {
        let started = tokio::select! {
            started = (plan.start)(core.clone()) => Some(started.with_context(|| format!("starting core {}", core.index))?),
            () = plan.stages.stopping.cancelled() => None,
        };
        let Some(service) = started else {
            let _nobody_left = reports.send(Report::Drained).await;
            let _nobody_left = reports.send(Report::Stopped).await;
            return Ok(());
        };
        let prepared =
            prepare(core, service, Arc::clone(&plan.config), plan.domain, Arc::clone(&plan.limits))?;
        let _nobody_left = reports.send(Report::Started).await;
        // What one core checks at its start is checked before any of them serves.
        let may_listen = tokio::select! {
            biased;
            () = plan.stages.stopping.cancelled() => false,
            () = plan.stages.started.cancelled() => true,
        };
        if may_listen {
            let listener = listener::listen(socket)?;
            if core.is_first() {
                tracing::info!(%address, cores = core.count, tls = core.tls.serves(), "listening");
            }
            prepared.serve(core, listener).await;
        }
        let _nobody_left = reports.send(Report::Drained).await;
        core.workers_stop.cancelled().await;
        prepared.stop_workers(core).await;
        let _nobody_left = reports.send(Report::Stopped).await;
        // Other cores may still use what answers on this core's runtime.
        plan.stages.over.cancelled().await;
        Ok(())
    };
    single_threaded()?.block_on(async {
        tokio::select! {
            ended = run => ended,
            never = core.vitals.beat(core.index) => match never {},
        }
    })
}

/// A core that is ready to accept.
pub(super) struct Prepared {
    connections: Connections,
    config: Arc<ServerConfig>,
    limits: Arc<Limits>,
}

/// Puts the service's routes, health and reflection behind the layers of a call.
pub(super) fn prepare<V: SessionVerifier>(
    core: &Core,
    service: Service<V>,
    config: Arc<ServerConfig>,
    domain: &'static str,
    limits: Arc<Limits>,
) -> anyhow::Result<Prepared> {
    let services = service.auth.policies().services().to_vec();
    let statuses = health::Statuses::of(&services);
    let mut routes = service.routes.add_service(statuses.clone());
    if config.reflection {
        routes = reflection::add_to(routes, &services);
    }
    let errors = Errors { domain, message_size_max: config.message_size_max };
    let pipeline: Arc<dyn Calls> = Arc::new(Pipeline {
        auth: service.auth,
        layers: Layers::of(&services, &service.layers),
        routes: routes.prepare(),
        methods: Methods::of(&services),
        errors: Arc::new(errors),
        limits: Arc::clone(&limits),
        request_deadline: config.request_deadline,
        shutdown: core.shutdown.clone(),
    });
    let stopping = core.stages.stopping.clone();
    let first_pause = health::first_pause(core.index, core.count);
    let told = Told { statuses, services, vitals: core.vitals.clone(), core: core.index };
    core.spawn("health", health::watch(service.ready, first_pause, told, stopping));
    if core.is_first() {
        core.spawn("tls-files", core.tls.clone().watch(core.workers_stop.clone()));
    }
    let connections =
        Connections::new(pipeline, Arc::clone(&config), core.tls.clone(), core.shutdown.clone());
    Ok(Prepared { connections, config, limits })
}

impl Prepared {
    /// Accepts and serves until shutdown, then until the last connection closed or the time for it is over.
    pub(super) async fn serve(&self, core: &Core, listener: TcpListener) {
        let tracker = TaskTracker::new();
        listener::accept(listener, &self.connections, &self.limits, &tracker, &core.shutdown).await;
        tracker.close();
        if timeout(self.config.drain_timeout, tracker.wait()).await.is_err() {
            tracing::warn!(connections = tracker.len(), "calls did not end in time");
        }
    }

    /// Waits for the background workers, which were told to stop.
    pub(super) async fn stop_workers(&self, core: &Core) {
        core.tracker.close();
        if timeout(self.config.drain_timeout, core.tracker.wait()).await.is_err() {
            tracing::warn!(workers = core.tracker.len(), "background workers did not end in time");
        }
    }
}

/// The two signals that ask a process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
