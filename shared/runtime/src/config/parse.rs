//! Value parsers, and the one place where a binary's arguments and environment are read.

use std::ffi::OsString;
use std::num::NonZero;
use std::time::Duration;

use clap::{ArgMatches, Command, Parser};
use secrecy::SecretString;

const LISTEN: &str = "listen";

/// Reads the process's arguments and environment, or prints what is wrong with them and exits.
/// `listen` is the service's default address; it goes to wherever [`super::ServerConfig`] is flattened,
/// subcommands included.
#[must_use]
pub fn parse<C: Parser>(listen: &'static str) -> C {
    read(listen, |command| Ok(command.get_matches())).unwrap_or_else(|error| error.exit())
}

/// As [`parse`], from these arguments instead of the process's.
///
/// # Errors
/// When the arguments are not valid; names the flag.
pub fn parse_from<C: Parser, A: Into<OsString> + Clone>(
    listen: &'static str,
    arguments: impl IntoIterator<Item = A>,
) -> Result<C, clap::Error> {
    read(listen, |command| command.try_get_matches_from(arguments))
}

fn read<C: Parser>(
    listen: &'static str,
    matches: impl FnOnce(Command) -> Result<ArgMatches, clap::Error>,
) -> Result<C, clap::Error> {
    let command = with_listen(C::command(), listen);
    let mut matches = matches(command.clone())?;
    C::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command.clone()))
}

fn with_listen(mut command: Command, listen: &'static str) -> Command {
    if command.get_arguments().any(|argument| argument.get_id() == LISTEN) {
        command = command.mut_arg(LISTEN, |argument| argument.default_value(listen).required(false));
    }
    command.mut_subcommands(|subcommand| with_listen(subcommand, listen))
}

/// A duration such as `250ms`, `5s` or `1m 30s`.
///
/// # Errors
/// When it is none.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// What [`secret_value`] gives.
pub type ParsedSecret = Result<SecretString, String>;

/// A secret: the text itself, or with `file:` the content of a file, without white space around it. Never part
/// of the error.
///
/// # Errors
/// When the file cannot be read, or nothing is there.
pub fn secret_value(text: &str) -> ParsedSecret {
    let secret = match text.strip_prefix("file:") {
        None => text.trim().to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map(|content| content.trim().to_owned())
            .map_err(|error| format!("cannot read the file: {error}"))?,
    };
    if secret.is_empty() { Err("is empty".to_owned()) } else { Ok(secret.into()) }
}

pub(super) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

pub(super) fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=256) => Ok(threads),
        Ok(_) | Err(_) => Err("not a number from 1 to 256".to_owned()),
    }
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000_000) => Ok(number),
        Ok(_) | Err(_) => Err("not a number from 1 to 1000000000".to_owned()),
    }
}

pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        Ok(_) | Err(_) => Err("not a number from 0 to 1".to_owned()),
    }
}

pub(super) fn filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
