//! A private Prometheus, to see what it makes of what services tell.

mod answers;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::command::option;
use crate::http_api::HttpApi;
use crate::launch::{Launch, Lifetime};
use crate::ports::Port;
use crate::programs;
use crate::server::{Engine, Server};
use crate::state::State;

pub use answers::{Alert, AlertState, Exemplar, RuleHealth, Sample, Series};

const NAME: &str = "prometheus";

/// A running Prometheus of our own.
pub type Prometheus = Server<PrometheusEngine>;

/// Prometheus.
#[derive(Debug)]
pub struct PrometheusEngine;

impl Engine for PrometheusEngine {
    type Admin = HttpApi;
    const NAME: &str = "Prometheus";
    const STOP: Signal = Signal::SIGTERM;

    async fn answers(server: &Prometheus) -> Result<()> {
        server.admin.get("/-/ready", &[]).await.map(drop)
    }
}

impl Prometheus {
    /// Starts it in `state` with this configuration and these rules, which the configuration names `rules.yml`. Exemplars
    /// are kept.
    ///
    /// # Errors
    /// When Prometheus is missing, or refuses its files.
    pub async fn start(
        state: &State,
        config: &str,
        rules: &str,
        port: Port,
        lifetime: Lifetime,
    ) -> Result<Self> {
        let program =
            programs::tool(NAME).context("no prometheus on this machine; `cargo xtask tools` installs it")?;
        let port = port.choose()?;
        let mut launch = Launch::of_server(state, NAME, program, &["prometheus", "nobody"], lifetime)?;
        launch.write("rules.yml", rules)?;
        launch.args = vec![
            option("--config.file", &launch.write("prometheus.yml", config)?),
            option("--storage.tsdb.path", &launch.folder.join("data")),
            format!("--web.listen-address=127.0.0.1:{port}").into(),
            "--enable-feature=exemplar-storage".into(),
            "--log.level=warn".into(),
        ];
        Self::launch(PrometheusEngine, launch, HttpApi::new(port), port).await
    }
}
