//! `up`: the whole system in the foreground.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::book_lines::BookLines;
use crate::local::{Local, LocalArgs, Ports, asked_to_stop};
use crate::{env, grpcurl_lines, out, tools};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Starts databases and services, prints calls to try, and stays until Ctrl-C. Data is kept for the next `up`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    local: LocalArgs,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    // Dropping an unfinished start ends everything that it has started.
    let local = tokio::select! {
        started = Local::start(&args.local, "up", Ports::WellKnown) => started?,
        asked = asked_to_stop() => {
            asked?;
            bail!("stopped before everything was up");
        }
    };
    out::line(format_args!("\nMongoDB is {}.", local.stack.databases.mongo.kind()));
    env::keep(&local).await?;
    let books = BookLines::of(&local.stack).await?;
    let path = tools::path_of_missing(&["grpcurl", "mongosh", "psql"]);
    for line in grpcurl_lines::lines(&local.endpoints, &books, &path) {
        out::line(line);
    }
    out::line("\nCtrl-C stops everything.");
    tokio::select! {
        asked = asked_to_stop() => asked?,
        () = report_ends(&local) => {}
    }
    local.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Reports each part that ends by itself, once. The others go on, since somebody may have ended it to try that.
async fn report_ends(local: &Local) {
    let mut known = Vec::new();
    loop {
        let ended = local.ended();
        for line in ended.iter().filter(|line| !known.contains(*line)) {
            out::line(line);
        }
        known = ended;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
