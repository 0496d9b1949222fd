//! Running other programs.

use anyhow::{Context, Result, bail};
use testkit::programs;
use testkit::state::workspace;
use tokio::process::Command;

/// Runs a program in the workspace; it must succeed.
pub(crate) async fn run_in_workspace(mut command: Command) -> Result<()> {
    let status = command.current_dir(workspace()).kill_on_drop(true).status().await;
    let status = status.with_context(|| format!("running {}", command.as_std().get_program().display()))?;
    if !status.success() {
        bail!("ended with {status}");
    }
    Ok(())
}

/// A tool that `cargo xtask tools` installs, to be run.
pub(crate) fn tool(name: &str) -> Result<Command> {
    let program = programs::tool(name);
    let program = program.with_context(|| format!("{name} is missing: run `cargo xtask tools`"))?;
    Ok(testkit::tool(program).into())
}

/// A revision of this repository by its name; none where there is no such, or this is no clone.
pub(crate) async fn revision(name: &str) -> Option<String> {
    let mut git = Command::from(testkit::tool("git"));
    git.args(["rev-parse", "--verify", "--quiet", name]).current_dir(workspace()).kill_on_drop(true);
    let output = git.output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
