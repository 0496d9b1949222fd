//! Starting and stopping the whole system on this machine, for every command that needs it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use testkit::{
    ADMIN_ABOVE, DatabaseOptions, Lifetime, PROGRAMS, Port, Profile, ReservedPort, ServiceName,
    ServiceOptions, Stack, State, state,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::out;
use crate::tools;

pub(crate) const ADMIN_EMAIL: &str = "admin@tristore.test";
/// The name of the secret with the admin's password.
pub(crate) const ADMIN_PASSWORD: &str = "admin-password";
const ADMIN_NAME: &str = "Admin";
pub(crate) const OPERATORS_COMMAND: &str = "tristore";
/// Seven ports, and the admin ports of the services ten above theirs.
const LAST_PORT: u16 = u16::MAX - 3 - ADMIN_ABOVE;

/// Where and how the system runs.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct LocalArgs {
    /// Folder for data, logs and secrets. When root runs this, the databases' accounts must be able to enter it.
    #[arg(long, value_name = "DIR", env = "TRISTORE_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Use the seven ports after this one for user, order and session service, PostgreSQL, MongoDB, Redis for sessions
    /// and Redis for events, and the eleventh to the thirteenth for the services' admin ports.
    /// [default: 50051 to 50053, 15432, 17017, 16379, 16380; 50061 to 50063]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..=i64::from(LAST_PORT)))]
    port_base: Option<u16>,
    /// Run the optimised build.
    #[arg(long)]
    release: bool,
    /// Threads of each service. [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Start no Redis for events and cache. Events must still arrive.
    #[arg(long)]
    pub(crate) without_event_redis: bool,
}

/// The ports of a system when none are chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ports {
    /// The documented ones.
    WellKnown,
    /// Free ones, so that it can run beside another system.
    Free,
}

impl LocalArgs {
    pub(crate) fn base(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(state::base)
    }

    /// The same system, with the Redis for events and cache.
    pub(crate) fn with_event_redis(&self) -> Self {
        Self { without_event_redis: false, ..self.clone() }
    }

    fn ports(&self, otherwise: Ports) -> [Port; 7] {
        let fixed = match (self.port_base, otherwise) {
            (Some(base), _) => [1, 2, 3, 4, 5, 6, 7].map(|offset| base + offset),
            (None, Ports::WellKnown) => [50051, 50052, 50053, 15432, 17017, 16379, 16380],
            (None, Ports::Free) => return [Port::Free; 7],
        };
        fixed.map(Port::Fixed)
    }
}

/// Whose ports they are, in the order of [`LocalArgs::ports`].
const PORT_OF: [&str; 7] = [
    "user service",
    "order service",
    "session service",
    "PostgreSQL",
    "MongoDB",
    "the Redis for sessions",
    "the Redis for events",
];

/// Fails when a port is taken, and names all that are, before anything is built or started.
fn all_free(ports: [Port; 7]) -> Result<()> {
    let fixed = |(port, of): (Port, &'static str)| match port {
        Port::Fixed(port) => Some((port, of)),
        Port::Free => None,
    };
    let fixed: Vec<(u16, &str)> = ports.into_iter().zip(PORT_OF).filter_map(fixed).collect();
    let of_admin = fixed.iter().take(ServiceName::ALL.len()).map(|(port, of)| (port + ADMIN_ABOVE, *of));
    let of_admin = of_admin.map(|(port, of)| (port, format!("{of}, for its operator")));
    let all = fixed.iter().map(|(port, of)| (*port, (*of).to_owned())).chain(of_admin);
    let taken = |(port, of)| Some(format!("  {of}: {:#}", ReservedPort::this(port).err()?));
    let taken: Vec<String> = all.filter_map(taken).collect();
    ensure!(
        taken.is_empty(),
        "something else listens on ports of this system:\n{}\nStop it (another checkout's `up` by `cargo xtask down` \
         there), or choose other ports with --port-base",
        taken.join("\n")
    );
    Ok(())
}

/// The addresses of a running system, for people and for the demo.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    /// `host:port` of user service.
    pub(crate) user: String,
    /// `host:port` of order service.
    pub(crate) order: String,
    /// `host:port` of session service.
    pub(crate) session: String,
    /// The first admin's address.
    pub(crate) admin_email: String,
    /// The first admin's password.
    pub(crate) admin_password: String,
}

/// A running system.
pub(crate) struct Local {
    pub(crate) stack: Stack,
    pub(crate) endpoints: Endpoints,
    /// How its programs were built.
    pub(crate) profile: Profile,
}

impl Local {
    /// Builds the services, starts everything in the state folder `name`, and makes the first admin.
    pub(crate) async fn start(args: &LocalArgs, name: &str, ports: Ports) -> Result<Self> {
        tools::ensure_servers().await?;
        let (state, ended) = State::open(&args.base(), name).await?;
        for process in ended {
            out::line(format_args!("    ended {process}: an earlier run had left it"));
        }
        let ports = args.ports(ports);
        all_free(ports)?;
        let state = Arc::new(state);
        let profile = if args.release { Profile::Release } else { Profile::Debug };
        out::step("building the services");
        profile.build(&PROGRAMS).await?;
        out::step(format_args!("starting databases and services in {}", state.root().display()));
        let [user, order, session, postgres, mongo, redis_session, redis_events] = ports;
        let databases = DatabaseOptions {
            lifetime: Lifetime::UntilStopped,
            postgres,
            mongo,
            redis_session,
            redis_events,
            without_event_redis: args.without_event_redis,
            test_commands: false,
        };
        let services = ServiceOptions {
            profile,
            lifetime: Lifetime::UntilStopped,
            user,
            order,
            session,
            well_known_admin: matches!(user, Port::Fixed(_)),
            threads: args.threads,
            env: Vec::new(),
            edges: false,
        };
        let stack = Stack::start(Arc::clone(&state), databases, &services).await?;
        let password = state.secret(ADMIN_PASSWORD)?;
        let admin = stack.services.bootstrap_admin(ADMIN_EMAIL, ADMIN_NAME, &password).await?;
        ensure!(!admin.is_empty(), "bootstrap-admin printed no id");
        let endpoints = Endpoints {
            user: stack.services.user.address(),
            order: stack.services.order.address(),
            session: stack.services.session.address(),
            admin_email: ADMIN_EMAIL.to_owned(),
            admin_password: password,
        };
        Ok(Self { stack, endpoints, profile })
    }

    /// Stops everything in order.
    pub(crate) async fn stop(&self) -> Result<()> {
        out::step("stopping services and databases");
        self.stack.stop().await
    }

    /// The parts that have ended by themselves.
    pub(crate) fn ended(&self) -> Vec<String> {
        let Stack { services, databases, .. } = &self.stack;
        let events = databases.redis_events.as_ref().map(|server| server.process());
        let servers =
            [databases.postgres.process(), databases.mongo.process(), databases.redis_session.process()];
        let services = ServiceName::ALL.map(|name| services.get(name).process());
        let all = servers.into_iter().chain(events).chain(services);
        let ended = all.filter(|process| !process.is_alive());
        ended
            .map(|process| {
                format!("{} has ended; its log: {}", process.name(), process.log().path().display())
            })
            .collect()
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn asked_to_stop() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.context("listening for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

/// Does something unless Ctrl-C or SIGTERM comes first: so whoever has begun can clean up.
pub(crate) async fn stoppable<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        asked = asked_to_stop() => {
            asked?;
            bail!("stopped before the end");
        }
    }
}
