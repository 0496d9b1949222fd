//! `down`: ends what `up` started, also after an `up` that was killed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::{Signal, State, state, wait_until};

use crate::out;

const DOWN_WITHIN: Duration = Duration::from_secs(120);

/// Stops what `up` runs, or what an `up` that was killed left running.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The state folder given to `up`.
    #[arg(long, value_name = "DIR", env = "TRISTORE_STATE")]
    state: Option<PathBuf>,
    /// Delete data, logs and secrets too.
    #[arg(long)]
    delete_data: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let base = args.state.unwrap_or_else(state::base);
    let root = state::root(&base, "up")?;
    let was_there = root.exists();
    if !was_there && !state::is_used(&root) {
        out::line("nothing runs");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(owner) = state::owner(&root) {
        out::step(format_args!("asking `up` (process {}) to stop", owner.pid()));
        owner.signal(Signal::SIGTERM)?;
        wait_until(
            DOWN_WITHIN,
            "`up` to stop",
            async || {
                if owner.is_alive() { Err("it runs") } else { Ok(()) }
            },
        )
        .await?;
    }
    let (state, ended) = State::open(&base, "up").await?;
    for process in &ended {
        out::line(format_args!("    ended {process}"));
    }
    if args.delete_data || !was_there {
        state.remove().context("deleting the data")?;
    }
    out::line("everything is down");
    Ok(ExitCode::SUCCESS)
}
