//! Running other programs.

use anyhow::{Context, Result, bail};
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
