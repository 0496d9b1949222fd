//! What can go wrong, as outcomes that a caller can act on. `grpc/status.rs` gives them codes, `events` gets
//! them as transient or permanent.

use std::error::Error as StdError;
use std::time::Duration;

use events::{EffectError, StoreError};
use tonic_types::FieldViolation;

/// The source of an error, for the log only.
pub(crate) type Source = Box<dyn StdError + Send + Sync>;

/// When a repeat makes sense after something was away.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call was not answered with success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request breaks the rules of its fields")]
    Invalid(Vec<FieldViolation>),
    /// Wrong, unknown, expired or revoked: which of them is not told.
    #[error("the credentials are not valid")]
    InvalidCredentials,
    /// Of the address, or from where the call comes.
    #[error("too many failed logins; wait before the next one")]
    LoginThrottled { retry_after: Duration },
    #[error("too many passwords are being checked; nothing was done")]
    Overloaded { retry_after: Duration },
    /// Also another's.
    #[error("there is no such session")]
    SessionNotFound { session_id: String },
    #[error("only an admin may do this for another user")]
    PermissionDenied,
    #[error("this request_id was used before for another content")]
    RequestIdReused { fields: Vec<u32>, method: &'static str },
    #[error("the user was changed again and again while the login was on its way")]
    Contention,
    #[error("a dependency is away")]
    Unavailable { retry_after: Duration, source: Source },
    /// Redis is full, cannot write its file, or is a replica.
    #[error("the store takes no writes")]
    StorageUnavailable { source: Source },
    #[error("a defect")]
    Internal(#[source] Source),
}

impl Error {
    /// A dependency that does not answer.
    pub(crate) fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable { retry_after: RETRY_AFTER, source: source.into() }
    }

    /// A broken invariant.
    pub(crate) fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }
}

/// The result of everything in this crate.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        if matches!(error, Error::Unavailable { .. } | Error::StorageUnavailable { .. } | Error::Contention) {
            Self::Transient(error.into())
        } else {
            Self::Permanent(error.into())
        }
    }
}

impl From<Error> for EffectError {
    fn from(error: Error) -> Self {
        StoreError::from(error).into()
    }
}
