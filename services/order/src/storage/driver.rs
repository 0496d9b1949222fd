//! Sorts the driver's errors, once: what a caller can act on, what a repeat may heal, what is a defect.

use deadpool::managed::PoolError;

use types::Failure;

use crate::error::Error;

/// The name of the constraint that a statement violated.
pub(crate) fn violated(error: &Error) -> Option<&str> {
    let Error::Failure(Failure::Internal(cause)) = error else { return None };
    cause.downcast_ref::<sqlx::Error>()?.as_database_error()?.constraint()
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default().into_owned();
                by_sqlstate(&code, error).into()
            }
            // A closed or broken connection, in the middle of whatever was going on.
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => Self::unavailable(error),
            _ => Self::internal(error),
        }
    }
}

fn by_sqlstate(code: &str, error: sqlx::Error) -> Failure {
    match (code, code.get(..2).unwrap_or_default()) {
        // Serialization failure, deadlock, lock timeout.
        ("40001" | "40P01" | "55P03", _) => Failure::contention(error),
        // Read-only transaction: a standby, or an operator's setting.
        ("25006", _) => Failure::StorageUnavailable(error.into()),
        // Statement timeout, idle in transaction too long, the server's own shutdown or start.
        ("57014" | "25P03" | "57P01" | "57P02" | "57P03" | "57P05", _) => Failure::unavailable(error),
        // 53: out of memory or connections, disk full; 58: I/O error.
        ("53100", _) | (_, "58") => Failure::StorageUnavailable(error.into()),
        (_, "08" | "53") => Failure::unavailable(error),
        // Also a violated constraint: who expects one asks `violated`.
        _ => Failure::internal(error),
    }
}

impl From<PoolError<Error>> for Error {
    fn from(error: PoolError<Error>) -> Self {
        match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(_) => Self::unavailable("no connection to the database became free in time"),
            PoolError::Closed => Self::unavailable("the pool is closed: the service is shutting down"),
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Self::internal("the pool is set up wrongly")
            }
        }
    }
}
