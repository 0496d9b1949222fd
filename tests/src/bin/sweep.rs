//! `cargo xtask sweep`: every case of the crash sweep, one line each, and the sum.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use api::causes::Causes;
use clap::Parser;
use tests::sweep;

/// Kills a service at every crash point and checks that it recovers.
#[derive(Debug, Parser)]
#[command(name = "sweep")]
struct Options {
    /// Only cases whose line contains this, such as `relay.published` or `Refund`; again for another.
    #[arg(long)]
    only: Vec<String>,
    /// List the cases and run none.
    #[arg(long)]
    list: bool,
    /// How often each case is run.
    #[arg(long, default_value_t = 1)]
    repeats: usize,
    /// One case for each crash point of the design.
    #[arg(long)]
    short: bool,
    /// How many systems run side by side.
    #[arg(long, default_value_t = 2)]
    systems: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(Options::parse()).await.unwrap_or_else(|error| {
        eprintln!("sweep: {}", Causes(error.as_ref()));
        ExitCode::FAILURE
    })
}

async fn run(options: Options) -> Result<ExitCode> {
    let cases = if options.short { sweep::short() } else { sweep::all() };
    let is_wanted =
        |line: &str| options.only.is_empty() || options.only.iter().any(|text| line.contains(text));
    let picked: Vec<_> = cases.into_iter().filter(|case| is_wanted(&case.to_string())).collect();
    ensure!(!picked.is_empty(), "no case contains any of {:?}", options.only);
    if options.list {
        let lines: String = picked.iter().map(|case| format!("{} {case}\n", case.victim)).collect();
        std::io::stdout().lock().write_all(lines.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let cases = picked.repeat(options.repeats);
    let count = cases.len();
    let mut done = 0;
    let tell = |line: &sweep::Line| {
        done += 1;
        let mut out = std::io::stdout().lock();
        // When nobody reads the output any more, the exit code still tells the result.
        let _ = writeln!(out, "{done:>4}/{count} {line}").and_then(|()| out.flush());
    };
    let sum = sweep::run(cases, options.systems, tell).await?;
    let _ = writeln!(std::io::stdout(), "{sum}");
    Ok(if sum.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
