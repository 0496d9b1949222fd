//! `up`: the whole system in the foreground.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::book_lines::BookLines;
use crate::local::{Local, LocalArgs, Ports, asked_to_stop};
use crate::{doctor, env, grpcurl_lines, out, tools};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The programs that the printed lines call.
const CALLED: [&str; 3] = ["grpcurl", "mongosh", "psql"];

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
    let path = tools::path_of_missing(&CALLED);
    for line in grpcurl_lines::lines(&local.endpoints, &books, &path) {
        out::line(line);
    }
    for line in missing(CALLED.map(|name| (name, doctor::by_hand(name)))) {
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

/// Says of each program that is missing, or does not run, that the lines above need it, and what installs it.
fn missing(called: [(&str, Result<String>); 3]) -> Vec<String> {
    let missing = called.into_iter().filter_map(|(name, found)| {
        let why = found.err()?;
        Some(format!(
            "\n{name} is missing, so the lines above that call it do not work: `cargo xtask tools` installs it ({why:#})"
        ))
    });
    missing.collect()
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

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_missing_program_is_named_with_what_installs_it() {
        let found = || Ok("version 1".to_owned());
        assert!(missing([("grpcurl", found()), ("mongosh", found()), ("psql", found())]).is_empty());
        let lines =
            missing([("grpcurl", Err(anyhow!("not found"))), ("mongosh", found()), ("psql", found())]);
        assert_eq!(
            lines,
            [
                "\ngrpcurl is missing, so the lines above that call it do not work: `cargo xtask tools` installs it \
              (not found)"
            ]
        );
    }
}
