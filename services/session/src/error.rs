//! Why a call was not answered with success: what can fail in every service, and what this one refuses. `grpc/` gives
//! each its form on the wire, `events` gets it as transient or permanent.

use events::{EffectError, StoreError};
use types::{Cause, Effect, Failure};

use crate::domain::SessionRefused;

/// The error of everything in this crate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error(transparent)]
    Session(#[from] SessionRefused),
}

/// The result of everything in this crate.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Something that is needed does not answer.
    pub(crate) fn unavailable(cause: impl Into<Cause>) -> Self {
        Failure::unavailable(cause).into()
    }

    /// A defect.
    pub(crate) fn internal(cause: impl Into<Cause>) -> Self {
        Failure::internal(cause).into()
    }

    /// The same error, of something that is known to have had this effect: see [`Failure::with_effect`].
    pub(crate) fn with_effect(self, effect: Effect) -> Self {
        match self {
            Self::Failure(failure) => failure.with_effect(effect).into(),
            refused => refused,
        }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let is_transient = matches!(&error, Error::Failure(failure) if failure.is_transient());
        Self::of(is_transient, error)
    }
}

impl From<Error> for EffectError {
    fn from(error: Error) -> Self {
        StoreError::from(error).into()
    }
}
