//! What the binaries of all services have in common: they read the command line, run one command, and report a failure.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

use crate::config::parse_from;

/// Reads the command line and the environment and runs `act` with them; the command is `serve` when none is given.
/// `listen` is the service's default address. A failure is printed, and the exit code says so.
pub fn run<C: Parser>(listen: &'static str, act: impl FnOnce(C) -> anyhow::Result<()>) -> ExitCode {
    let command: C =
        parse_from(listen, with_command(std::env::args_os())).unwrap_or_else(|error| error.exit());
    match act(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", C::command().get_name());
            ExitCode::FAILURE
        }
    }
}

/// Runs the work of a command that does not serve, on a tokio runtime of its own.
///
/// # Errors
/// Those of `work`, and when no tokio runtime can be made.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("making a tokio runtime")?.block_on(work)
}

/// Adds `serve` to arguments that name no command. Those that only ask for help or the version stay as they are.
fn with_command(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    let is_question =
        |argument: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|one| argument == one);
    let is_option =
        |argument: &OsString| argument.as_encoded_bytes().starts_with(b"-") && !is_question(argument);
    if arguments.get(1).is_none_or(is_option) {
        arguments.insert(1.min(arguments.len()), "serve".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serve_is_the_command_when_none_is_given() {
        for (given, expected) in [
            (vec!["x"], vec!["x", "serve"]),
            (vec!["x", "--threads", "1"], vec!["x", "serve", "--threads", "1"]),
            (vec!["x", "migrate", "--help"], vec!["x", "migrate", "--help"]),
            (vec!["x", "--help"], vec!["x", "--help"]),
            (vec!["x", "-V"], vec!["x", "-V"]),
        ] {
            assert_eq!(with_command(given.into_iter().map(OsString::from)), expected);
        }
    }
}
