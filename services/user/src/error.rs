//! What can come of a call besides its answer: what this service refuses, noun by noun, and the failures that any call
//! may meet. Each refusal is beside its noun in `domain/`, and its wire form in `grpc/`.

use events::{EffectError, StoreError};
use types::{Cause, Effect, Failure};

use crate::domain::post::PostRefused;
use crate::domain::relation::RelationRefused;
use crate::domain::user::UserRefused;
use crate::domain::wallet::{CreditRefused, HoldNotFound, WalletRefused};
use bookkeeping::SumTooLarge;

/// `std::result::Result` with this service's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What can befall any call.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// A refusal about a user.
    #[error(transparent)]
    User(#[from] UserRefused),
    /// A refusal about a post.
    #[error(transparent)]
    Post(#[from] PostRefused),
    /// A refusal about who follows whom.
    #[error(transparent)]
    Relation(#[from] RelationRefused),
    /// A grant or a sending of credit was refused.
    #[error(transparent)]
    Credit(#[from] CreditRefused),
    /// A refusal about what a wallet may do.
    #[error(transparent)]
    Wallet(#[from] WalletRefused),
    /// A refusal about a hold.
    #[error(transparent)]
    Hold(#[from] HoldNotFound),
    /// What the first call with this request id was refused with, given again.
    #[error(transparent)]
    Replayed(Box<Self>),
}

impl Error {
    /// A defect, or data that nobody could have written.
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

    /// Something that is needed does not answer.
    pub(crate) fn unavailable(cause: impl Into<Cause>) -> Self {
        Failure::unavailable(cause).into()
    }

    /// A concurrent change got in the way.
    pub(crate) fn contention(cause: impl Into<Cause>) -> Self {
        Failure::contention(cause).into()
    }

    /// Whether a concurrent change got in the way.
    pub(crate) const fn is_contention(&self) -> bool {
        matches!(self, Self::Failure(Failure::Contention(_)))
    }

    /// Whether the same may work in a moment.
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(self, Self::Failure(failure) if failure.is_transient())
    }
}

impl From<SumTooLarge> for Error {
    fn from(sum: SumTooLarge) -> Self {
        Self::internal(sum)
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        Self::of(error.is_transient(), error)
    }
}

impl From<Error> for EffectError {
    fn from(error: Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        error.into_error()
    }
}
