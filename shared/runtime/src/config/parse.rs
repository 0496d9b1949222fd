//! Value parsers, and the one place where a binary's arguments and environment are read.

use std::ffi::OsString;
use std::num::NonZero;
use std::time::Duration;

use api::codec::MESSAGE_SIZE_LIMIT;
use clap::{Command, Parser};
use secrecy::SecretString;

use super::names::misnamed;
use super::refused::explain;

const LISTEN: &str = "listen";

/// Reads these arguments, and the environment. `listen` is the service's default address, wherever
/// [`super::ServerConfig`] is flattened, subcommands included.
///
/// # Errors
/// When the arguments are not valid; names the flag and the variable, and shows no secret.
pub fn parse_from<C: Parser, A: Into<OsString> + Clone>(
    listen: &'static str,
    arguments: impl IntoIterator<Item = A>,
) -> Result<C, clap::Error> {
    let mut command = with_listen(C::command(), listen);
    let matches = command.try_get_matches_from_mut(arguments);
    let parsed = matches.and_then(|mut matches| {
        C::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    });
    parsed.map_err(|error| explain(error, &command, &misnamed()))
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
/// When it is not a duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// A duration that must not be zero, such as a timeout.
///
/// # Errors
/// When it is not a duration, or is zero.
pub fn time_span(text: &str) -> Result<Duration, String> {
    duration(text)
        .and_then(|span| if span.is_zero() { Err("must be above zero".to_owned()) } else { Ok(span) })
}

/// A wait of events for each other. It is short beside the lease of the sequencer that lets them wait, and no longer than
/// the time in which an event is found without a hint.
pub(super) fn batch_wait(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        wait if wait <= Duration::from_millis(250) => Ok(wait),
        _ => Err("not a duration from 0ms to 250ms".to_owned()),
    }
}

/// What a secret begins with that is in a file.
const FILE: &str = "file:";

/// Whether a secret is in a file, which [`secret_value`] reads.
pub(super) fn is_of_file(text: &str) -> bool {
    text.starts_with(FILE)
}

/// What [`secret_value`] returns.
pub type ParsedSecret = Result<SecretString, String>;

/// A secret: the text itself, or with `file:` the content of a file, without white space around it. The error never
/// contains it.
///
/// # Errors
/// When the file cannot be read, or the secret is empty.
pub fn secret_value(text: &str) -> ParsedSecret {
    let secret = match text.strip_prefix(FILE) {
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

/// A number of things of which there must be one.
///
/// # Errors
/// When it is none.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000_000) => Ok(number),
        Ok(_) | Err(_) => Err("not a number from 1 to 1000000000".to_owned()),
    }
}

pub(super) fn message_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=MESSAGE_SIZE_LIMIT) => Ok(number),
        Ok(_) | Err(_) => Err(format!("not a number from 1 to {MESSAGE_SIZE_LIMIT}")),
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

#[cfg(test)]
mod tests {
    use clap::Subcommand;
    use secrecy::ExposeSecret as _;

    use super::super::{ServerConfig, ServiceTokenConfig, TelemetryConfig, masked};
    use super::*;

    #[derive(Debug, Parser)]
    struct Flat {
        #[command(flatten)]
        server: ServerConfig,
        #[command(flatten)]
        telemetry: TelemetryConfig,
        #[command(flatten)]
        tokens: ServiceTokenConfig,
    }

    #[derive(Debug, Parser)]
    struct Nested {
        #[command(subcommand)]
        command: Do,
    }

    #[derive(Debug, Subcommand)]
    enum Do {
        Serve(Box<ServerConfig>),
        Migrate,
    }

    #[test]
    fn events_wait_for_each_other_up_to_a_quarter_of_a_second() {
        assert_eq!(batch_wait("0ms"), Ok(Duration::ZERO));
        assert_eq!(batch_wait("250ms"), Ok(Duration::from_millis(250)));
        for refused in ["251ms", "3s", "10", "-1ms", ""] {
            batch_wait(refused).unwrap_err();
        }
    }

    const TOKENS: [&str; 4] = ["--service-token", "own-s3cret", "--service-tokens", "user-service=s3cret"];

    fn flat(arguments: &[&str]) -> Result<Flat, String> {
        let arguments = ["test"].iter().chain(&TOKENS).chain(arguments);
        parse_from("127.0.0.1:50052", arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn the_service_says_where_it_listens_unless_somebody_else_does() {
        assert_eq!(flat(&[]).unwrap().server.listen.port(), 50052);
        assert_eq!(flat(&["--listen", "[::1]:7"]).unwrap().server.listen.port(), 7);
        let nested: Nested = parse_from("127.0.0.1:50052", ["test", "serve"]).unwrap();
        assert!(matches!(nested.command, Do::Serve(server) if server.listen.port() == 50052));
        let nested: Nested = parse_from("127.0.0.1:50052", ["test", "migrate"]).unwrap();
        assert!(matches!(nested.command, Do::Migrate));
    }

    #[test]
    fn a_bad_value_is_reported_with_its_flag() {
        for (flag, bad) in [
            ("--listen", "nowhere"),
            ("--threads", "0"),
            ("--request-deadline", "soon"),
            ("--message-size-max", "0"),
            ("--message-size-max", "4194305"),
            ("--request-deadline", "0s"),
            ("--first-request-timeout", "0s"),
            ("--idle-timeout", "0s"),
            ("--keepalive-interval", "0s"),
            ("--keepalive-timeout", "0ms"),
            ("--connection-age-max", "0s"),
            ("--connection-age-grace", "0s"),
            ("--drain-timeout", "0s"),
            ("--trace-ratio", "2"),
            ("--log-filter", "a=b=c"),
            ("--log-format", "xml"),
            ("--service-token", " "),
            ("--service-tokens", "file:/no/such/file"),
            ("--tls-peer-ids", "user-service=https://trust.example/user"),
            ("--require-tls", "perhaps"),
        ] {
            let error = flat(&[flag, bad]).unwrap_err();
            assert!(error.contains(flag), "{flag}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[derive(Debug, Parser)]
    struct Addresses {
        #[arg(long, env = "A_PEER_OF_THE_TEST", value_name = "URL", value_parser = super::super::peer_url)]
        peer_url: String,
        #[arg(long, env = "A_REDIS_OF_THE_TEST", value_name = "URL", hide_env_values = true, value_parser = super::super::redis_url)]
        redis_url: SecretString,
    }

    #[test]
    fn a_refusal_names_flag_and_variable_and_shows_no_secret() {
        let told = |arguments: &[&str]| {
            let arguments = ["test"].iter().chain(arguments);
            parse_from::<Addresses, _>("127.0.0.1:1", arguments).unwrap_err().to_string()
        };
        for (arguments, expected) in [
            (
                &["--peer-url", "localhost:1", "--redis-url", "redis://h"][..],
                "invalid value 'localhost:1' for '--peer-url <URL> (A_PEER_OF_THE_TEST)': has no scheme",
            ),
            (
                &["--peer-url", "http://app:s3cret@h:1", "--redis-url", "redis://h"],
                "invalid value 'http://app:***@h:1' for '--peer-url <URL> (A_PEER_OF_THE_TEST)'",
            ),
            (
                &["--peer-url", "app:s3cret@h:1", "--redis-url", "redis://h"],
                "invalid value '***' for '--peer-url",
            ),
            (
                &["--peer-url", "http://h:1", "--redis-url", "http://app:s3cret@h"],
                "invalid value '***' for '--redis-url <URL> (A_REDIS_OF_THE_TEST)'",
            ),
            (&["--peer-url", "http://h:1"], "--redis-url <URL> (A_REDIS_OF_THE_TEST)"),
        ] {
            let told = told(arguments);
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn zero_is_a_time_only_where_it_makes_sense() {
        assert_eq!(flat(&["--drain-delay", "0s"]).unwrap().server.drain_delay, Duration::ZERO);
        assert_eq!(flat(&["--message-size-max", "4194304"]).unwrap().server.message_size_max, 4 << 20);
        assert_eq!(time_span("0s"), Err("must be above zero".to_owned()));
        assert_eq!(time_span("1ns"), Ok(Duration::from_nanos(1)));
    }

    #[test]
    fn the_effective_configuration_has_no_secrets_in_it() {
        let config = flat(&[]).unwrap();
        assert_eq!(masked(&config.tokens), r#"{"service_token":"***","service_tokens":"***"}"#);
        assert!(masked(&config.server).contains(r#""request_deadline":"5s""#));
        assert!(!format!("{config:?}").contains("s3cret"));
        assert!(config.tokens.accepted().unwrap_err().to_string().contains("--service-tokens"));
    }

    #[test]
    fn a_secret_may_be_in_a_file() {
        let file = std::env::temp_dir().join(format!("tristore-secret-{}", std::process::id()));
        std::fs::write(&file, " s3cret\n").unwrap();
        let secret = secret_value(&format!("file:{}", file.display()));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(secret.unwrap().expose_secret(), "s3cret");
    }
}
