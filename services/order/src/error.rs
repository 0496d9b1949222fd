//! What can go wrong in order service, as outcomes that a caller can act on. `grpc/status.rs` says how each
//! looks on the wire; `storage/` sorts the driver's errors into these.

use std::error::Error as StdError;
use std::time::Duration;

use bookkeeping::SumTooLarge;
use events::{EffectError, StoreError};
use tonic_types::FieldViolation;
use types::{OrderId, ProductId, TransferId, UserId};

use crate::domain::{OrderState, Reason};

/// When a repeat makes sense while something is away.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A result of this service.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whatever lies underneath.
pub(crate) type Source = Box<dyn StdError + Send + Sync>;

/// Why something was not done. Nothing changed, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields break rules; all of them are listed.
    #[error("the request is not valid")]
    Invalid(Vec<FieldViolation>),
    /// The id was used before for another content.
    #[error("this request_id was used before for another request")]
    RequestIdReused {
        /// The method, as in [`types::RequestKey`].
        method: &'static str,
        /// The numbers of the fields that differ.
        fields: Vec<u32>,
    },
    /// The stored refusal of a call that was made before.
    #[error(transparent)]
    Replayed(Box<Error>),
    /// No such product.
    #[error("there is no such product")]
    ProductNotFound(ProductId),
    /// No such order, or it is not the caller's business.
    #[error("there is no such order")]
    OrderNotFound(OrderId),
    /// No such user.
    #[error("there is no such user")]
    UserNotFound(UserId),
    /// Fewer are in stock than the order wants.
    #[error("product {product_id} is out of stock: {quantity} wanted, {stock} left")]
    OutOfStock {
        /// Of what.
        product_id: ProductId,
        /// How many were wanted.
        quantity: i64,
        /// How many there were.
        stock: i64,
    },
    /// The products belong to different merchants.
    #[error("the products of an order must belong to one merchant; {0} belongs to another")]
    SellerMismatch(ProductId),
    /// The products cost different currencies.
    #[error("the products of an order must have one currency; {0} has another")]
    CurrencyMismatch(ProductId),
    /// The products cost more together than an order may.
    #[error("the items cost too much together")]
    TotalOverflow,
    /// The customer, or the receiver of an order, is deactivated.
    #[error("the user is deactivated")]
    CustomerDeactivated(UserId),
    /// The order's state does not allow it.
    #[error("the order is {state}")]
    InvalidState {
        /// Which order.
        order_id: OrderId,
        /// What it is.
        state: OrderState,
    },
    /// A payment of the order runs.
    #[error("a payment of the order is running")]
    PaymentPending(OrderId),
    /// The etag is not the present one.
    #[error("the order has changed since it was read")]
    VersionMismatch(OrderId),
    /// No such account, for this caller.
    #[error("there is no such account")]
    AccountNotFound(UserId),
    /// No such transfer, or it is not the caller's business.
    #[error("there is no such transfer")]
    TransferNotFound(TransferId),
    /// The transfer was cancelled: nothing moved, and nothing will under its request id.
    #[error("no money moved: {reason}")]
    TransferCancelled {
        /// Which transfer.
        transfer_id: TransferId,
        /// Of which order.
        order_id: OrderId,
        /// Whose wallet takes part.
        wallet_user_id: UserId,
        /// Why.
        reason: Reason,
    },
    /// The transfer has not ended yet; it goes on, and a repeat of the request joins it.
    #[error("the transfer is still running")]
    InProgress(TransferId),
    /// The transfer's decision is made and stays.
    #[error("the transfer is decided already")]
    AlreadyDecided(TransferId),
    /// The transfer has ended; there is nothing to repeat.
    #[error("the transfer is {state}")]
    TransferEnded {
        /// Which transfer.
        transfer_id: TransferId,
        /// Its state.
        state: &'static str,
    },
    /// A concurrent change got in the way; [`crate::storage::Store::transaction`] tries again.
    #[error("a concurrent change got in the way")]
    Conflict(#[source] Source),
    /// Concurrent changes got in the way too often.
    #[error("too many concurrent changes; nothing changed")]
    Contention,
    /// A constraint of the database was violated and nobody expected it.
    #[error("constraint {name} was violated")]
    Constraint {
        /// Its name.
        name: String,
        /// The driver's error.
        #[source]
        source: Source,
    },
    /// The database, or a service that is needed, does not answer. Whether something changed is unknown.
    #[error("something that is needed does not answer")]
    Unavailable {
        /// When a repeat makes sense.
        retry_after: Duration,
        /// What is away.
        #[source]
        source: Source,
    },
    /// The database takes no writes now: full, or read-only.
    #[error("the database takes no writes now")]
    StorageUnavailable(#[source] Source),
    /// A defect.
    #[error("a defect")]
    Internal(#[source] Source),
}

impl Error {
    /// Something that is needed does not answer.
    pub(crate) fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable { retry_after: RETRY_AFTER, source: source.into() }
    }

    /// A defect.
    pub(crate) fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }

    /// This error with all its causes, on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// Whether the same may work in a moment.
    fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Conflict(_) | Self::Contention | Self::Unavailable { .. } | Self::StorageUnavailable(_)
        )
    }
}

impl From<SumTooLarge> for Error {
    fn from(sum: SumTooLarge) -> Self {
        Self::internal(sum)
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        if error.is_transient() { Self::Transient(error.into()) } else { Self::Permanent(error.into()) }
    }
}

impl From<Error> for EffectError {
    fn from(error: Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            // An error that only passed through the backbone's traits is itself again.
            StoreError::Transient(source) => match source.downcast::<Self>() {
                Ok(error) => *error,
                Err(source) => Self::unavailable(source),
            },
            StoreError::Permanent(source) => match source.downcast::<Self>() {
                Ok(error) => *error,
                Err(source) => Self::internal(source),
            },
        }
    }
}
