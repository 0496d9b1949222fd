//! What tells Prometheus of a database, beside what the services tell of it.

use std::ffi::OsString;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::http_api::HttpApi;
use crate::launch::{Launch, Lifetime};
use crate::ports::Port;
use crate::programs;
use crate::server::{Engine, Server};
use crate::state::State;

/// Which database an exporter tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exported<'a> {
    /// PostgreSQL, at an address with a login that may read its statistics.
    Postgres(&'a str),
    /// Redis, at an address with its password.
    Redis(&'a str),
}

impl Exported<'_> {
    /// The name of the program in Debian, which is also that of its package.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Postgres(_) => "prometheus-postgres-exporter",
            Self::Redis(_) => "prometheus-redis-exporter",
        }
    }

    /// Addresses have passwords in them, so they go by the environment.
    fn command_line(self, port: u16) -> (Vec<OsString>, Vec<(String, String)>) {
        let (flag, variable, value) = match self {
            Self::Postgres(url) => {
                ("--web.listen-address", "DATA_SOURCE_NAME", format!("{url}?sslmode=disable"))
            }
            Self::Redis(url) => ("-web.listen-address", "REDIS_ADDR", url.to_owned()),
        };
        (vec![format!("{flag}=127.0.0.1:{port}").into()], vec![(variable.to_owned(), value)])
    }
}

/// A running exporter of our own.
pub type Exporter = Server<ExporterEngine>;

/// An exporter.
#[derive(Debug)]
pub struct ExporterEngine;

impl Engine for ExporterEngine {
    type Admin = HttpApi;
    const NAME: &str = "an exporter";
    const STOP: Signal = Signal::SIGTERM;

    async fn answers(server: &Exporter) -> Result<()> {
        server.admin.get("/metrics", &[]).await.map(drop)
    }
}

impl Exporter {
    /// Starts it in `state`.
    ///
    /// # Errors
    /// When its program is missing or does not start.
    pub async fn start(state: &State, of: Exported<'_>, port: Port, lifetime: Lifetime) -> Result<Self> {
        let name = of.program();
        let program = programs::tool(name)
            .with_context(|| format!("no {name} on this machine; `cargo xtask tools` installs it"))?;
        let port = port.choose()?;
        let (args, env) = of.command_line(port);
        let launch = Launch::of_server(state, name, program, &["prometheus", "nobody"], lifetime)?;
        let launch = Launch { args, env, ..launch };
        Self::launch(ExporterEngine, launch, HttpApi::new(port), port).await
    }
}
