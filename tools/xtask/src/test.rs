//! `test`: runs every test of the workspace on one set of servers.

use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use testkit::test_servers::{MONGODB_URL, POSTGRES_URL, REDIS_EVENTS_URL, REDIS_SESSION_URL};
use testkit::{
    DatabaseOptions, Databases, MongoAdmin, PREFIX, PROGRAMS, PostgresAdmin, Profile, State, env, skipped,
    state,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::local::asked_to_stop;
use crate::{out, tools};

/// Runs all tests on one private set of databases, and prints the sum in one line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for `cargo test`, such as `-p order-service` or the name of a test.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    cargo: Vec<String>,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    tools::ensure_servers().await?;
    if !picks_packages(&args.cargo) {
        out::step("building what the tests run");
        // Before the tests start, since a compiler beside them would slow down tests that have a time limit.
        for profile in [Profile::Debug, Profile::Faults] {
            profile.build(&PROGRAMS).await?;
        }
    }
    sweep_given_servers().await.context("sweeping the given servers")?;
    out::step("starting databases");
    let state = Arc::new(State::for_run(&state::base()).await?);
    let databases = Databases::start(Arc::clone(&state), DatabaseOptions::default()).await?;
    out::line(format_args!("    MongoDB is {}", databases.mongo.kind()));
    let skips = state.path("skipped");
    let tested = tokio::select! {
        tested = cargo_test(&databases, &args.cargo, &skips) => tested,
        // Cargo is in our process group and got the same Ctrl-C.
        asked = asked_to_stop() => asked.and(Err(anyhow::anyhow!("stopped"))),
    };
    let stopped = databases.stop().await;
    drop(databases);
    let (code, mut sum) = tested?;
    stopped?;
    for test in skipped::noted(&skips)? {
        out::line(format_args!("skipped because a tool is missing: {test}"));
        sum.skip();
    }
    if code == 0 {
        Arc::into_inner(state).map_or(Ok(()), State::remove)?;
    } else {
        // The next run removes the folder.
        out::line(format_args!("logs of the databases: {}", state.root().join("logs").display()));
        if sum.failed == 0 {
            out::line(format_args!("cargo test ended with {code} although no test reported a failure"));
        }
    }
    out::line(sum);
    Ok(ExitCode::from(code))
}

/// Removes the databases of earlier runs from servers that somebody has named, which outlive the runs.
async fn sweep_given_servers() -> Result<()> {
    if let Some(url) = env::var(POSTGRES_URL) {
        PostgresAdmin::new(&url)?.sweep(PREFIX).await?;
    }
    if let Some(url) = env::var(MONGODB_URL) {
        MongoAdmin::new(&url)?.sweep(PREFIX).await?;
    }
    Ok(())
}

async fn cargo_test(databases: &Databases, args: &[String], skips: &Path) -> Result<(u8, Sum)> {
    let mut command = Command::from(testkit::cargo());
    command.args(["test", "--no-fail-fast"]).current_dir(state::workspace()).kill_on_drop(true);
    if !picks_packages(args) {
        command.arg("--workspace");
    }
    // A failed test says what went wrong. Fifty lines of backtrace would hide that.
    command.args(args).stdout(Stdio::piped()).env("RUST_LIB_BACKTRACE", "0");
    command.env(skipped::NOTED_IN, skips);
    for (variable, url) in [
        (POSTGRES_URL, databases.postgres.url("postgres")),
        (MONGODB_URL, databases.mongo.admin().url("")),
        (REDIS_SESSION_URL, databases.redis_session.url(0)),
        (REDIS_EVENTS_URL, databases.redis_events_url().to_owned()),
    ] {
        // A server that somebody has named, such as a real MongoDB, is used instead of ours.
        command.env(variable, env::var(variable).unwrap_or(url));
    }
    let mut child = command.spawn().context("running cargo")?;
    let mut lines = BufReader::new(child.stdout.take().context("cargo's output")?).lines();
    let mut sum = Sum::default();
    while let Some(line) = lines.next_line().await? {
        sum.add(&line);
        out::line(line);
    }
    let status = child.wait().await?;
    Ok((status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1), sum))
}

fn picks_packages(args: &[String]) -> bool {
    args.iter().any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
}

/// The counts of all test binaries together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Sum {
    /// Counts a test as skipped that the harness has counted as passed.
    fn skip(&mut self) {
        self.passed = self.passed.saturating_sub(1);
        self.skipped += 1;
    }

    /// Adds a line like `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`, and ignores all others.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split(';') {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.skipped += count,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_binaries_are_summed_up_and_nothing_else_counts() {
        let mut sum = Sum::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.10s",
            "9 passed, nobody knows where",
        ] {
            sum.add(line);
        }
        assert_eq!(sum.to_string(), "5 passed, 4 failed, 1 skipped");
        sum.skip();
        assert_eq!(sum.to_string(), "4 passed, 4 failed, 2 skipped");
    }
}
