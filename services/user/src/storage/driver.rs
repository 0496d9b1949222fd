//! Every call of the driver goes through [`bounded`]: it has an end, and its failure is classified here, once, by the
//! table in `failures`.

mod failures;
mod operations;

use std::error::Error as _;
use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use mongodb::error::{
    Error as DriverError, ErrorKind, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
    WriteFailure,
};
use tokio::time::timeout;
use types::{Cause, Failure, Verdict};

use super::connections::Connections;
use crate::error::{Error, Result};

pub use failures::FAILURES;
use operations::Timed;

/// The parameter `transactionLifetimeLimitSeconds` as the server is meant to have it: how long a transaction lives whose
/// client died.
pub(crate) const TRANSACTION_LIFETIME: Duration = Duration::from_secs(3);
/// How long its locks can stay: MongoDB looks for such transactions twice in each lifetime, so one may have become too
/// old right after a look.
const LOCKS_ARE_FREE: Duration = TRANSACTION_LIFETIME.saturating_add(Duration::from_millis(1_500));
/// How long whoever waits for what a dead client left in the server goes on waiting: until the locks are free, and a
/// moment for those that queue behind them.
pub(super) const LONGER_THAN_LOCKS: Duration = LOCKS_ARE_FREE.saturating_add(Duration::from_millis(1_500));
/// The longest that one exchange with the server may take. A paused server answers nothing at all, so the
/// server's own limits are not enough. Whoever gave up before the locks are free would leave a write behind that waits for
/// them inside the server, and is done after all.
pub(crate) const OPERATION_TIME: Duration = LONGER_THAN_LOCKS;
/// The longest that the server may work on one read: less than we wait, so that it is the server that ends it.
pub(crate) const SERVER_TIME: Duration = Duration::from_secs(2);

pub(crate) const DUPLICATE_KEY: i32 = 11_000;
/// `UserNotFound` and `AuthenticationFailed`.
const LOGIN_REFUSED: [i32; 2] = [11, 18];
pub(crate) const UNAUTHORIZED: i32 = 13;

/// Runs an exchange with the server.
///
/// Boxed here, so that the futures of our callers hold a plain box: with the driver's own types in them, the
/// compiler cannot see that they are `Send`.
pub(crate) fn bounded<'a, T: 'a, O>(operation: O) -> BoxFuture<'a, Result<T>>
where
    O: IntoFuture<Output = Result<T, DriverError>, IntoFuture: Send + 'a>,
{
    let operation = bounded_raw(operation);
    Box::pin(async move { operation.await.map_err(|error| classify(error).into()) })
}

/// As [`bounded`], for callers that tell driver errors apart themselves. Silence is an I/O error.
pub(crate) fn bounded_raw<'a, T: 'a, O>(operation: O) -> BoxFuture<'a, Result<T, DriverError>>
where
    O: IntoFuture<Output = Result<T, DriverError>, IntoFuture: Send + 'a>,
{
    within(OPERATION_TIME, operation)
}

/// As [`bounded_raw`], with another limit.
pub(crate) fn within<'a, T: 'a, O>(limit: Duration, operation: O) -> BoxFuture<'a, Result<T, DriverError>>
where
    O: IntoFuture<Output = Result<T, DriverError>, IntoFuture: Send + 'a>,
{
    let operation = timeout(limit, operation.into_future());
    Box::pin(async move {
        let timed = Timed::begin::<O>();
        let outcome = match operation.await {
            Ok(outcome) => outcome,
            Err(_) => {
                Connections::gave_up();
                Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
            }
        };
        if let (Some(timed), Err(_)) = (&timed, &outcome) {
            timed.failed();
        }
        outcome
    })
}

/// What a driver error means to us.
pub(crate) fn classify(error: DriverError) -> Failure {
    verdict(&error).failure(Told(error))
}

/// A driver error as the log may show it: without the server's whole answer, which has documents in it, and a time, so
/// that no two are the same; and without the command that a login may not do, which has what was to be written.
struct Told(DriverError);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_command(&without_answers(&self.0.to_string())))
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Told {}

/// Takes the command out of what a server says that refuses it, but for what it is and of which collection. The driver puts
/// its own words before and after what the server says.
pub(crate) fn without_command(text: &str) -> String {
    const BEGIN: &str = " to execute command {";
    const OF_DRIVER: (&str, &str) = ("Kind: ", ", labels: ");
    let Some((before, rest)) = text.split_once(BEGIN) else { return text.to_owned() };
    let name = rest.split([',', '}']).next().unwrap_or_default().trim();
    let after = if text.starts_with(OF_DRIVER.0) { rest.rfind(OF_DRIVER.1) } else { None };
    let after = after.and_then(|at| rest.get(at..)).unwrap_or_default();
    format!("{before} to execute {name}{after}")
}

/// Takes the servers' answers out of the text of an error, which may have others in it.
fn without_answers(text: &str) -> String {
    const BEGIN: &str = ", server response: Some(";
    const END: &str = "\" })";
    let mut parts = text.split(BEGIN);
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        short.push_str(part.split_once(END).map_or("", |(_, rest)| rest));
    }
    short.replace(", server response: None", "")
}

/// What a driver error means in answer to a commit. Without the label that the transaction can be done again, a server
/// that does not know it may have committed it at an earlier try.
pub(super) fn classify_commit(error: DriverError) -> Failure {
    let is_unknown = code(&error) == Some(failures::NO_SUCH_TRANSACTION)
        && !error.contains_label(TRANSIENT_TRANSACTION_ERROR);
    if is_unknown {
        FAILURES.verdict(&[failures::COMMIT_WITHOUT_TRANSACTION]).failure(Told(error))
    } else {
        classify(error)
    }
}

/// Whether an answer to a commit leaves open whether it was done, so that it is asked for again: the server said nothing;
/// it does not know the transaction, and it does not say that the same can be done again; or it has committed, and cannot
/// say whether a majority has it.
pub(super) fn is_commit_in_doubt(error: &DriverError) -> bool {
    if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) {
        return true;
    }
    let is_open = match &*error.kind {
        ErrorKind::Io(_) | ErrorKind::ServerSelection { .. } | ErrorKind::ConnectionPoolCleared { .. } => {
            true
        }
        ErrorKind::Write(WriteFailure::WriteConcernError(_)) => true,
        _ => code(error) == Some(failures::NO_SUCH_TRANSACTION),
    };
    is_open && !error.contains_label(TRANSIENT_TRANSACTION_ERROR)
}

/// What it means that the server refused one write of several with this code.
pub(super) fn refused(code: i32, cause: impl Into<Cause>) -> Failure {
    FAILURES.verdict(&[&code.to_string()]).failure(cause)
}

/// Whether a transaction that failed so, and was not committed, is tried again.
pub(super) fn is_tried_again(error: &Error) -> bool {
    let of_cause = |Told(cause): &Told| verdict(cause);
    matches!(error, Error::Failure(failure) if failure.is_tried_again(of_cause))
}

/// Whether the server did not do it because its user may not.
pub(super) fn is_not_allowed(error: &Error) -> bool {
    let Error::Failure(failure) = error else { return false };
    let cause = failure.source().and_then(|cause| cause.downcast_ref::<Told>());
    cause.is_some_and(|Told(error)| code(error) == Some(UNAUTHORIZED))
}

fn verdict(error: &DriverError) -> Verdict {
    let code = code(error).map(|code| code.to_string());
    let labels = failures::LABELS.into_iter().filter(|label| error.contains_label(label));
    let said: Vec<&str> = code.as_deref().into_iter().chain(kind(error)).chain(labels).collect();
    FAILURES.verdict(&said)
}

/// The kind of an error that the driver has made itself; `None` for one of the server's.
fn kind(error: &DriverError) -> Option<&'static str> {
    Some(match &*error.kind {
        ErrorKind::Command(_) | ErrorKind::Write(_) | ErrorKind::InsertMany(_) | ErrorKind::BulkWrite(_) => {
            // What failed as a whole is the source.
            return source(error).and_then(kind);
        }
        ErrorKind::Io(_) => failures::IO,
        ErrorKind::ServerSelection { .. } => failures::SERVER_SELECTION,
        ErrorKind::ConnectionPoolCleared { .. } => failures::POOL_CLEARED,
        ErrorKind::DnsResolve { .. } => failures::DNS_RESOLVE,
        ErrorKind::Authentication { .. } => failures::AUTHENTICATION,
        ErrorKind::InvalidTlsConfig { .. } => failures::TLS_CONFIG,
        ErrorKind::InvalidResponse { .. } => failures::INVALID_RESPONSE,
        ErrorKind::IncompatibleServer { .. } | ErrorKind::SessionsNotSupported => failures::INCOMPATIBLE,
        ErrorKind::Shutdown => failures::SHUTDOWN,
        ErrorKind::InvalidArgument { .. } => failures::ARGUMENT,
        ErrorKind::BsonDeserialization(_) | ErrorKind::BsonSerialization(_) | ErrorKind::Bson(_) => {
            failures::DOCUMENT
        }
        _ => failures::OTHER,
    })
}

/// Whether a unique index refused a write. It ends the transaction that the write was in.
pub(crate) fn is_duplicate_key(error: &DriverError) -> bool {
    code(error) == Some(DUPLICATE_KEY)
}

/// Whether the server does not take our login.
pub(super) fn is_login_refused(error: &DriverError) -> bool {
    kind(error) == Some(failures::AUTHENTICATION)
        || code(error).is_some_and(|code| LOGIN_REFUSED.contains(&code))
}

/// The server's code of an error.
pub(crate) fn code(error: &DriverError) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        ErrorKind::InsertMany(many) => many
            .write_errors
            .as_ref()
            .and_then(|errors| errors.first())
            .map(|error| error.code)
            .or_else(|| many.write_concern_error.as_ref().map(|error| error.code)),
        // Of one statement of many; a failure of the whole is the source.
        ErrorKind::BulkWrite(bulk) => bulk
            .write_errors
            .values()
            .map(|error| error.code)
            .next()
            .or_else(|| bulk.write_concern_errors.first().map(|error| error.code))
            .or_else(|| source(error).and_then(code)),
        _ => None,
    }
}

fn source(error: &DriverError) -> Option<&DriverError> {
    error.source()?.downcast_ref::<DriverError>()
}

#[cfg(test)]
mod tests {
    use types::{Effect, FailureKind};

    use super::*;

    #[test]
    fn each_row_is_there_once_and_contention_is_tried_again() {
        assert_eq!(FAILURES.repeated(), [""; 0]);
        for row in FAILURES.rows {
            let is_contention = row.verdict.kind == FailureKind::Contention;
            assert!(row.verdict.is_tried_again || !is_contention, "{}", row.said);
            assert!(!is_contention || row.verdict.effect == Effect::None, "{}", row.said);
        }
    }

    #[test]
    fn the_log_shows_no_answer_of_a_server_wherever_it_is() {
        let answer = |data: &str| format!(", server response: Some(RawDocumentBuf {{ data: \"{data}\" }})");
        let inner = format!("Error: Kind: refused, labels: {{}}, source: None{}", answer("ec01"));
        let text =
            format!("Kind: none, Servers: [ {{ {inner} }} ], labels: {{}}, source: None{}", answer("ff"));
        let short = "Kind: none, Servers: [ { Error: Kind: refused, labels: {}, source: None } ], labels: {}, \
                     source: None";
        assert_eq!(without_answers(&text), short);
        assert_eq!(without_answers("Kind: x, source: None, server response: None"), "Kind: x, source: None");
    }

    #[test]
    fn a_refused_command_is_told_without_what_was_to_be_written() {
        let said = "not authorized on users to execute command { update: \"credential\", updates: [ { q: { _id: 1 }, \
                    u: { $set: { password_hash: \"$argon2id}, labels: x\" } } } ] }";
        let short = "not authorized on users to execute update: \"credential\"";
        assert_eq!(without_command(said), short);
        let error =
            format!("Kind: Command failed: Error code 13 (Unauthorized): {said}, labels: {{}}, source: None");
        let told = format!(
            "Kind: Command failed: Error code 13 (Unauthorized): {short}, labels: {{}}, source: None"
        );
        assert_eq!(without_command(&error), told);
        assert_eq!(without_command("Kind: x"), "Kind: x");
    }

    #[test]
    fn what_the_driver_itself_says_has_a_row() {
        for said in [
            failures::IO,
            failures::SERVER_SELECTION,
            failures::POOL_CLEARED,
            failures::DNS_RESOLVE,
            failures::AUTHENTICATION,
            failures::TLS_CONFIG,
            failures::INVALID_RESPONSE,
            failures::INCOMPATIBLE,
            failures::SHUTDOWN,
            failures::ARGUMENT,
            failures::DOCUMENT,
            failures::OTHER,
            failures::COMMIT_WITHOUT_TRANSACTION,
        ]
        .into_iter()
        .chain(failures::LABELS)
        {
            assert!(FAILURES.row(said).is_some(), "{said}");
        }
    }
}
