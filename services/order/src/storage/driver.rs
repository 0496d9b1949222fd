//! Sorts the driver's errors, once, by the table in `failures`: what a caller can act on, what a repeat may heal, what is
//! a defect.

mod failures;

use std::borrow::Cow;
use std::error::Error as _;

use runtime::retry::Lasting;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use types::{Cause, Connection, Effect, Failure, Verdict};

use crate::error::Error;

pub use failures::FAILURES;

/// The name of the constraint that a statement violated.
pub(crate) fn violated(error: &Error) -> Option<&str> {
    let Error::Failure(Failure::Internal(cause)) = error else { return None };
    cause.downcast_ref::<sqlx::Error>()?.as_database_error()?.constraint()
}

/// The SQLSTATE with which the server refused something.
pub(crate) fn state_of(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// A failure to reach the server, for whoever waits for it to come up: a login that is refused, and a database that is not
/// there, are waited for in vain.
pub(super) fn at_start(error: impl Into<Error>) -> Cause {
    let error = error.into();
    let advice = match cause(&error).and_then(state_of).as_deref() {
        Some("28000" | "28P01") => {
            "it refuses the login; look at the user and the password in POSTGRES_URL, and at pg_hba.conf"
        }
        Some("3D000") => "it has no such database; make it, or name another one in POSTGRES_URL",
        _ => return error.into(),
    };
    Lasting::new(anyhow::Error::new(error).context(advice)).into()
}

fn cause(error: &Error) -> Option<&sqlx::Error> {
    let Error::Failure(failure) = error else { return None };
    failure.source()?.downcast_ref()
}

/// What a driver error means.
pub(super) fn verdict(error: &sqlx::Error) -> Verdict {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            let verdict = FAILURES.verdict(&[&code, code.get(..2).unwrap_or_default()]);
            let severity = database
                .try_downcast_ref::<PgDatabaseError>()
                .map_or(PgSeverity::Error, PgDatabaseError::severity);
            match severity {
                PgSeverity::Fatal | PgSeverity::Panic => verdict.on_new_connections(),
                _ => verdict,
            }
        }
        sqlx::Error::Io(_) => FAILURES.verdict(&[failures::IO]),
        sqlx::Error::Tls(_) => FAILURES.verdict(&[failures::TLS]),
        sqlx::Error::Protocol(_) => FAILURES.verdict(&[failures::PROTOCOL]),
        sqlx::Error::WorkerCrashed => FAILURES.verdict(&[failures::WORKER_CRASHED]),
        sqlx::Error::RowNotFound
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Encode(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::InvalidArgument(_) => FAILURES.verdict(&[failures::ANSWER]),
        _ => FAILURES.verdict(&[failures::OTHER]),
    }
}

/// What becomes of the connection that met an error.
pub(super) fn connection_after(error: &sqlx::Error) -> Connection {
    verdict(error).connection
}

/// Whether a transaction that failed so, and was not committed, is tried again.
pub(crate) fn is_tried_again(error: &Error) -> bool {
    matches!(error, Error::Failure(failure) if failure.is_tried_again(verdict))
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        verdict(&error).failure(error).into()
    }
}

/// What it means that no session could be opened. Whatever the server says to a new session, it is no statement of ours
/// that was wrong, and nothing could have been sent over it.
pub(super) fn not_opened(error: Error) -> Error {
    let error = match error {
        Error::Failure(Failure::Internal(cause)) => Error::unavailable(cause),
        error => error,
    };
    error.with_effect(Effect::None)
}
