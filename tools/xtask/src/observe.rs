//! `cargo xtask observe`: what Prometheus and Jaeger make of a running system, where that takes long or needs what few have.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, ValueEnum};
use testkit::state;
use tokio::process::Command;

/// Provokes each alert, or follows an exemplar to its trace.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// What to observe.
    what: What,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Provokes every alert for real, and prints a line for each. Takes some ten minutes.
    Alerts,
    /// Prints the trace of a payment as a tree, beginning at an exemplar. Needs Jaeger: `JAEGER`, or
    /// `jaeger-all-in-one` on the path.
    Trace,
    /// Pays orders while PostgreSQL is killed, and draws what Prometheus has of it into `docs/`. Takes a minute.
    Plots,
}

impl What {
    /// The test that does it.
    const fn test(self) -> &'static str {
        match self {
            Self::Alerts => "running::alerts::every_alert_is_provoked",
            Self::Trace => "running::trace::an_exemplar_leads_to_the_trace_of_a_payment",
            Self::Plots => "running::plots::a_lost_database_is_drawn",
        }
    }
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let mut command = Command::from(testkit::cargo());
    command.args(["test", "--quiet", "--package", "tests", "--test", "observability", "--"]);
    command.args(["--include-ignored", "--nocapture", "--exact", args.what.test()]);
    let status = command.current_dir(state::workspace()).status().await.context("running cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
