//! What can go wrong in order service: a failure that every service has, or a refusal for reasons of a noun's own. How
//! each looks on the wire is in `grpc/`; `storage/` sorts the driver's errors into failures.

use bookkeeping::SumTooLarge;
use events::{EffectError, StoreError};
use types::{Cause, Effect, Failure};

use crate::domain::{AccountRefused, CustomerRefused, OrderRefused, ProductRefused, TransferRefused};

/// A result of this service.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What can happen to any call.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// About a product.
    #[error(transparent)]
    Product(#[from] ProductRefused),
    /// About an order.
    #[error(transparent)]
    Order(#[from] OrderRefused),
    /// About a customer.
    #[error(transparent)]
    Customer(#[from] CustomerRefused),
    /// About a merchant's account.
    #[error(transparent)]
    Account(#[from] AccountRefused),
    /// About a transfer.
    #[error(transparent)]
    Transfer(#[from] TransferRefused),
    /// What the first call with this request id was refused with.
    #[error(transparent)]
    Replayed(Box<Error>),
}

impl Error {
    /// A concurrent change got in the way.
    pub(crate) fn contention(cause: impl Into<Cause>) -> Self {
        Failure::contention(cause).into()
    }

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

impl From<SumTooLarge> for Error {
    fn from(sum: SumTooLarge) -> Self {
        Self::internal(sum)
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

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        error.into_error()
    }
}
