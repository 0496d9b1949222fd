//! Docker's command.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use testkit::programs;
use testkit::state::workspace;
use tokio::process::Command;

use crate::program::run_in_workspace;

/// `docker`. Debian's, which needs no plugin to build, is preferred to another one on the path.
pub(super) fn docker(args: &[&str]) -> Result<Command> {
    let debian = std::path::Path::new("/usr/bin/docker");
    let program = if debian.exists() { Some(debian.to_owned()) } else { programs::on_path("docker") };
    let mut command = Command::from(testkit::installer(program.context("docker is not on the path")?));
    command.env("DOCKER_BUILDKIT", "1").args(args);
    Ok(command)
}

/// Runs it, with its output as the progress.
pub(super) async fn run(args: &[&str]) -> Result<()> {
    run_in_workspace(docker(args)?).await.with_context(|| format!("docker {}", args.join(" ")))
}

/// Runs it, and gives what it prints.
pub(super) async fn ask(args: &[&str]) -> Result<String> {
    let mut command = docker(args)?;
    command.current_dir(workspace()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.context("running docker")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "docker {}: {}", args.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
