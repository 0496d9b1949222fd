//! What the binaries of all services have in common: they read the command line, run one command, and report a failure.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use anyhow::Context as _;
use clap::Parser;

use crate::config::{misnamed, parse_from};
use crate::telemetry::FLUSH_WITHIN;

const SERVE: &str = "serve";

/// Reads the command line and the environment and runs `act` with them; the command is `serve` when none is given.
/// `listen` is the service's default address. A failure is printed, and the exit code says so.
pub fn run<C: Parser>(listen: &'static str, act: impl FnOnce(C) -> anyhow::Result<()>) -> ExitCode {
    let arguments = with_command(std::env::args_os());
    // A server says it in its log.
    let serves = arguments.get(1).is_some_and(|command| command == SERVE);
    let command: C = match parse_from(listen, arguments) {
        Ok(command) => command,
        Err(error) => return refuse(&error),
    };
    let name = C::command().get_name().to_owned();
    if !serves {
        misnamed().iter().for_each(|variable| say(&format!("{name}: {variable}")));
    }
    match act(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{name}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line on standard error, for a command, and for what a server says when it has no log yet or any more. Whoever
/// reads it may be gone or may have stalled: after a second the line is lost, and the process goes on.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    let (done, printed) = mpsc::channel::<()>();
    let print = move || {
        // There is nowhere else to tell it.
        let _lost = std::io::stderr().write_all(line.as_bytes());
        drop(done);
    };
    if thread::Builder::new().spawn(print).is_ok() {
        let _printed_or_late = printed.recv_timeout(FLUSH_WITHIN);
    }
}

/// Prints why the command line cannot be used, or the help that it asks for.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    let told = error.render();
    let told = if std::io::stderr().is_terminal() { told.ansi().to_string() } else { told.to_string() };
    say(told.trim_end());
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
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
        arguments.insert(1.min(arguments.len()), SERVE.into());
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
