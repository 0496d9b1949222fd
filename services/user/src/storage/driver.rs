//! Every call of the driver goes through [`bounded`]: it has an end, and its failure is classified here, once.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use mongodb::error::{Error as DriverError, ErrorKind, TRANSIENT_TRANSACTION_ERROR, WriteFailure};
use tokio::time::timeout;
use types::Failure;

use crate::error::Result;

/// The longest that one exchange with the server may take. A paused server answers nothing at all, so the
/// server's own limits are not enough. Longer than a transaction lives whose client died: what waits for its locks,
/// be it a write or a change of the schema that others queue behind, goes on then.
pub(crate) const OPERATION_TIME: Duration = Duration::from_secs(4);
/// The longest that the server may work on one read: less than we wait, so that it is the server that ends it.
pub(crate) const SERVER_TIME: Duration = Duration::from_secs(2);

pub(super) const DUPLICATE_KEY: i32 = 11_000;
const WRITE_CONFLICT: i32 = 112;
const NO_SUCH_TRANSACTION: i32 = 251;
const LOCK_TIMEOUT: i32 = 24;
const OUT_OF_DISK_SPACE: i32 = 14_031;
/// The server goes away, steps down, or was interrupted while doing so; and the time limits.
const AWAY: [i32; 16] =
    [6, 7, 50, 89, 91, 134, 189, 202, 262, 290, 9001, 10_107, 11_600, 11_602, 13_435, 13_436];

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
        match operation.await {
            Ok(outcome) => outcome,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    })
}

/// What a driver error means to us.
pub(crate) fn classify(error: DriverError) -> Failure {
    let code = code(&error);
    match (&*error.kind, code) {
        (_, Some(WRITE_CONFLICT | NO_SUCH_TRANSACTION | LOCK_TIMEOUT)) => Failure::contention(error),
        (_, Some(OUT_OF_DISK_SPACE)) => Failure::StorageUnavailable(error.into()),
        (_, Some(code)) if AWAY.contains(&code) => Failure::unavailable(error),
        (
            ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. },
            _,
        ) => Failure::unavailable(error),
        _ if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => Failure::contention(error),
        _ => Failure::internal(error),
    }
}

/// Whether a unique index refused a write. It ends the transaction that the write was in.
pub(crate) fn is_duplicate_key(error: &DriverError) -> bool {
    code(error) == Some(DUPLICATE_KEY)
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
            .or_else(|| source_code(error)),
        _ => None,
    }
}

fn source_code(error: &DriverError) -> Option<i32> {
    std::error::Error::source(error)?.downcast_ref::<DriverError>().and_then(code)
}
