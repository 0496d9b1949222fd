//! A service as a process of its own, configured by its environment, as in production.

mod replica;

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fault::Flaw;
use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::command::server;
use crate::env;
use crate::health::serving;
use crate::launch::Launch;
use crate::logs::Log;
use crate::process::Process;
use crate::profile::Profile;
use crate::services::{ServiceName, ServiceOptions};
use crate::state::State;
use crate::wait::wait_until;

const SERVING_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(40);
const COMMAND_WITHIN: Duration = Duration::from_secs(120);
/// Variables of our own environment that the services get too.
const PASSED_ON: [&str; 3] = ["RUST_LOG", "RUST_BACKTRACE", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// What an armed fault point does to its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAct {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, until [`Process::resume`].
    Stop,
}

impl fmt::Display for FaultAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
        })
    }
}

/// A service: its command line, its environment, and its process once started.
#[derive(Debug)]
pub struct Service {
    name: ServiceName,
    port: u16,
    admin_port: u16,
    launch: Launch,
    armed: PathBuf,
    process: Option<Process>,
}

impl Service {
    pub(crate) fn new(
        name: ServiceName,
        [port, admin_port]: [u16; 2],
        env: Vec<(String, String)>,
        state: &State,
        options: &ServiceOptions,
    ) -> Result<Self> {
        let armed = state.path(&format!("{name}.armed"));
        let arming = (options.profile == Profile::Faults)
            .then(|| (fault::ARMED.to_owned(), armed.display().to_string()));
        let passed_on = PASSED_ON.iter().filter_map(|&name| Some((name.to_owned(), env::var(name)?)));
        let launch = Launch {
            name: name.to_string(),
            program: options.profile.binary(name.binary())?,
            args: Vec::new(),
            env: passed_on.chain(env).chain(arming).collect(),
            folder: state.root().to_path_buf(),
            account: None,
            lifetime: options.lifetime,
            last_signal: Signal::SIGKILL,
            log: state.log(name.binary()),
            pid_file: state.pid_file(name.binary()),
        };
        Ok(Self { name, port, admin_port, launch, armed, process: None })
    }

    /// Which service it is.
    #[must_use]
    pub fn name(&self) -> ServiceName {
        self.name
    }

    /// Where it listens: `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it listens, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where its admin port is: `127.0.0.1:port`.
    #[must_use]
    pub fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.admin_port)
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> Log {
        Log::new(&self.launch.log)
    }

    /// The process, to kill, pause and resume.
    ///
    /// # Panics
    /// Before the service was started.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("a service is handed out after its start")
    }

    /// Makes the process kill or stop itself when it next reaches this point of `shared/fault`. Only for services built
    /// as [`Profile::Faults`].
    ///
    /// # Errors
    /// When the file that arms it cannot be written.
    pub fn arm(&self, point: &str, part: &str, act: FaultAct) -> Result<()> {
        let unborn = self.armed.with_extension("new");
        let fired = self.armed.with_extension("fired");
        if let Err(error) = std::fs::remove_file(&fired) {
            ensure!(error.kind() == ErrorKind::NotFound, "removing {}: {error}", fired.display());
        }
        std::fs::write(&unborn, format!("{point} {part} {act}\n"))?;
        std::fs::rename(&unborn, &self.armed).context("arming a fault point")
    }

    /// Whether the armed point was reached.
    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.armed.with_extension("fired").exists()
    }

    /// Disarms a point that no process has reached.
    ///
    /// # Errors
    /// When the point has fired.
    pub fn disarm(&self) -> Result<()> {
        std::fs::remove_file(&self.armed).context("the point has fired")
    }

    /// Starts the process, without waiting for it to serve.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.process = Some(Process::start(self.launch.clone())?);
        Ok(())
    }

    /// Waits until it says that it serves.
    ///
    /// # Errors
    /// When it ends or does not serve in time.
    pub async fn serving(&self) -> Result<()> {
        let (url, process) = (self.url(), self.process());
        let what = format!("{} to serve", self.name);
        let answer = wait_until(SERVING_WITHIN, &what, async || {
            // A process that has ended will never serve, so this fails at once instead of waiting.
            match process.exit_status() {
                Some(status) => Ok(Err(format!("{} ended with {status}", self.name))),
                None => serving(&url).await.map(Ok),
            }
        });
        let log = || format!("its log ends:\n{}", process.log().tail(15));
        answer.await.with_context(log)?.map_err(anyhow::Error::msg).with_context(log)
    }

    /// Starts it again after it was killed or stopped, and waits until it serves.
    ///
    /// # Errors
    /// When it does not.
    pub async fn restart(&self) -> Result<()> {
        self.process().start_again()?;
        self.serving().await
    }

    /// Restarts it with a known mistake in it. Only for services built as [`Profile::Faults`].
    ///
    /// # Errors
    /// When it does not stop in order or does not start.
    pub async fn restart_with(&self, flaw: Flaw) -> Result<()> {
        self.stop().await?;
        let put_in = (Flaw::VARIABLE.to_owned(), flaw.name().to_owned());
        self.process().relaunch_with(|launch| launch.env.push(put_in));
        self.restart().await
    }

    /// Stops it in order: it finishes the calls that it has begun.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn stop(&self) -> Result<()> {
        match &self.process {
            Some(process) => process.stop(Signal::SIGTERM, STOP_WITHIN).await,
            None => Ok(()),
        }
    }

    /// Runs one of its commands (`migrate`, `bootstrap-admin`) with its own environment, and returns what it prints.
    ///
    /// # Errors
    /// When the command fails.
    pub async fn command(&self, args: &[&str], input: &str) -> Result<String> {
        self.command_with(args, input, &[]).await
    }

    /// As [`Service::command`], with other values for some variables.
    ///
    /// # Errors
    /// When the command fails.
    pub async fn command_with(&self, args: &[&str], input: &str, env: &[(&str, &str)]) -> Result<String> {
        let what = format!("`{} {}`", self.name, args.join(" "));
        let mut command = Command::from(server(&self.launch.program));
        command.args(args).envs(self.launch.env.iter().map(|(name, value)| (name, value)));
        command.envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("running {what}"))?;
        let mut stdin = child.stdin.take().context("standard input")?;
        // A command that reads nothing may have ended before its input is written.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let ended = tokio::time::timeout(COMMAND_WITHIN, child.wait_with_output()).await;
        let output = ended.with_context(|| format!("{what} still runs after {COMMAND_WITHIN:?}"))??;
        if !output.status.success() {
            bail!("{what} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
