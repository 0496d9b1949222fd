//! kubectl, for one cluster.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use testkit::programs;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::program::run_in_workspace;

/// Where everything is.
pub(super) const NAMESPACE: &str = "tristore";

/// A cluster that kubectl reaches.
pub(super) struct Cluster {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
}

/// A port of this machine that leads to a pod, for as long as this lives.
pub(super) struct Forwarded {
    pub(super) port: u16,
    _kubectl: Child,
    /// It ends when nobody hears it.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Cluster {
    pub(super) fn new(kubeconfig: &Path) -> Result<Self> {
        let kubectl = programs::on_path("kubectl").context("kubectl is not on the path")?;
        Ok(Self { kubectl, kubeconfig: kubeconfig.to_owned() })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::from(testkit::tool(&self.kubectl));
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["--namespace", NAMESPACE]).args(args);
        command.kill_on_drop(true);
        command
    }

    /// A warning counts as a refusal: so the server tells of pods that the namespace would not admit.
    pub(super) async fn apply(&self, file: &Path, options: &[&str]) -> Result<()> {
        let mut command = self.command(&["apply", "--server-side", "--warnings-as-errors", "--filename"]);
        command.arg(file).args(options);
        run_in_workspace(command).await
    }

    /// Runs it, with its output as the progress.
    pub(super) async fn run(&self, args: &[&str]) -> Result<()> {
        run_in_workspace(self.command(args)).await.with_context(|| format!("kubectl {}", args.join(" ")))
    }

    /// Runs it with this on its standard input, and gives what it prints.
    pub(super) async fn tell(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = command.spawn().context("running kubectl")?;
        let mut stdin = running.stdin.take().context("standard input")?;
        stdin.write_all(input.as_bytes()).await.context("telling kubectl")?;
        drop(stdin);
        let output = running.wait_with_output().await.context("kubectl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {}", args.join(" "), said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Opens a port of this machine that leads to a port of one pod.
    pub(super) async fn forward(&self, to: &str, port: u16) -> Result<Forwarded> {
        let mut command = self.command(&["port-forward", to, &format!(":{port}")]);
        let mut kubectl = command.stdout(Stdio::piped()).spawn().context("running kubectl")?;
        let mut lines = BufReader::new(kubectl.stdout.take().context("standard output")?).lines();
        // "Forwarding from 127.0.0.1:40123 -> 50051".
        let said = lines.next_line().await?.with_context(|| format!("no port leads to {to}"))?;
        let here = said.split_whitespace().find_map(|word| word.strip_prefix("127.0.0.1:"));
        let port = here.and_then(|port| port.parse().ok()).with_context(|| format!("a port in: {said}"))?;
        Ok(Forwarded { port, _kubectl: kubectl, _said: lines })
    }
}
