//! `cargo xtask sweep`: kills a service at every named moment, while an operation passes it, and checks the outcome.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use testkit::state;
use tokio::process::Command;

/// Kills a service at every named moment. Prints a line for each case and the sum; fails when a case does.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// `--only TEXT` (cases whose line contains it; may be repeated), `--repeats N`, `--short` (as in CI), `--systems
    /// N` (that run side by side), `--list` (prints the cases and runs none).
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    sweep: Vec<String>,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let mut command = Command::from(testkit::cargo());
    command.args(["run", "--package", "tests", "--bin", "sweep", "--"]).args(args.sweep);
    let status = command.current_dir(state::workspace()).status().await.context("running cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
