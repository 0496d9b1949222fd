//! A private Prometheus, to see what it makes of what services tell.

mod answers;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::account::{Account, private_file, private_folder};
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
        ensure!(server.process.is_alive(), "it ended: {:?}", server.process.exit_status());
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
        let account = Account::for_server(&["prometheus", "nobody"])?;
        let folder = state.path(NAME);
        private_folder(&folder, account.as_ref())?;
        private_file(&folder.join("rules.yml"), rules, account.as_ref())?;
        let config_file = folder.join("prometheus.yml");
        private_file(&config_file, config, account.as_ref())?;
        let port = port.choose()?;
        let launch = Launch {
            name: NAME.to_owned(),
            program,
            args: vec![
                option("--config.file", &config_file),
                option("--storage.tsdb.path", &folder.join("data")),
                format!("--web.listen-address=127.0.0.1:{port}").into(),
                "--enable-feature=exemplar-storage".into(),
                "--log.level=warn".into(),
            ],
            env: Vec::new(),
            folder,
            account,
            lifetime,
            last_signal: Signal::SIGKILL,
            log: state.log(NAME),
            pid_file: state.pid_file(NAME),
        };
        Self::launch(PrometheusEngine, launch, HttpApi::new(port), port).await
    }
}
