//! What can come of a call besides its answer. Each variant is something a caller can act on; the last four say
//! that the fault is not the caller's. `grpc/status.rs` turns them into statuses, in one place.

use std::error::Error as StdError;
use std::time::Duration;

use bookkeeping::SumTooLarge;
use events::StoreError;
use tonic_types::FieldViolation;
use types::{Money, PostId, TransferId, UserId};

use crate::domain::wallet::CreditRefused;

/// A cause that is for the log and never for a client.
pub type Source = Box<dyn StdError + Send + Sync>;

/// `std::result::Result` with this service's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// When a client is told to come back after a database was away.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request break rules; all of them, by path.
    #[error("the request breaks the rules of its fields")]
    Invalid(Vec<FieldViolation>),
    /// No such user, or not for this caller.
    #[error("there is no user {0}")]
    UserNotFound(UserId),
    /// No such post.
    #[error("there is no post {0}")]
    PostNotFound(PostId),
    /// Another user has this e-mail address.
    #[error("another user has this e-mail address")]
    EmailTaken,
    /// The user is deactivated.
    #[error("user {0} is deactivated")]
    UserDeactivated(UserId),
    /// Less credit is available than the amount.
    #[error("less credit is available than the amount")]
    InsufficientCredit {
        /// Whose wallet.
        owner: UserId,
        /// What was available; the owner may know.
        available: Money,
    },
    /// This user's balance would pass its limit.
    #[error("the balance of user {0} would pass its limit")]
    BalanceLimit(UserId),
    /// This service never heard of the transfer.
    #[error("there is no hold of transfer {0}")]
    HoldNotFound(TransferId),
    /// Nobody changes the own role.
    #[error("nobody changes the own role")]
    OwnRole,
    /// Only the author hands a post over.
    #[error("only the author of post {0} can hand it over")]
    NotPostAuthor(PostId),
    /// The e-mail address or the password is wrong; which of them is not told.
    #[error("the e-mail address or the password is wrong")]
    InvalidCredentials,
    /// The caller's etag is not the present one.
    #[error("the {resource} has changed since it was read")]
    VersionMismatch {
        /// What it is, such as `user`.
        resource: &'static str,
        /// Its id.
        id: String,
    },
    /// The request id was used before, for another content.
    #[error("this request_id was used for another content")]
    RequestIdReused {
        /// The full method name.
        method: &'static str,
        /// The numbers of the request's fields that differ.
        fields: Vec<u32>,
    },
    /// What the first call with this request id was refused with, told again.
    #[error("{0}")]
    Replayed(Box<Self>),
    /// The tries of a call are used up, and another one with the same request id may still be running.
    #[error("the first call with this request_id may still be running")]
    RequestInProgress,
    /// More passwords wait to be hashed than are let in.
    #[error("too many passwords are being hashed")]
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
    /// Conflicting changes got in each other's way. Inside a transaction: try it again; to the client of a call
    /// without a request id: the tries are used up and nothing changed.
    #[error("too many conflicting changes at once")]
    Contention,
    /// A database or a service does not answer.
    #[error("a dependency does not answer")]
    Unavailable {
        /// When to come back.
        retry_after: Duration,
        /// What it said.
        source: Source,
    },
    /// The database takes no writes.
    #[error("the database takes no writes")]
    StorageUnavailable(#[source] Source),
    /// A defect, or data that nobody could have written.
    #[error("this should not have happened")]
    Internal(#[source] Source),
}

impl Error {
    /// A defect, told to the log.
    pub(crate) fn internal(what: impl Into<Source>) -> Self {
        Self::Internal(what.into())
    }

    /// A dependency that does not answer.
    pub(crate) fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable { retry_after: RETRY_AFTER, source: source.into() }
    }
}

impl From<CreditRefused> for Error {
    fn from(refused: CreditRefused) -> Self {
        match refused {
            CreditRefused::InsufficientCredit { owner, available } => {
                Self::InsufficientCredit { owner, available }
            }
            CreditRefused::BalanceLimit(user) => Self::BalanceLimit(user),
            CreditRefused::UserNotFound(user) => Self::UserNotFound(user),
            CreditRefused::UserDeactivated(user) => Self::UserDeactivated(user),
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
        match error {
            Error::Contention
            | Error::Overloaded { .. }
            | Error::Unavailable { .. }
            | Error::StorageUnavailable(_) => Self::Transient(error.into()),
            _ => Self::Permanent(error.into()),
        }
    }
}

impl From<StoreError> for Error {
    /// For effects that are written against the backbone's traits and called from a use case: what was an
    /// [`Error`] before becomes that error again.
    fn from(error: StoreError) -> Self {
        let (source, transient) = match error {
            StoreError::Transient(source) => (source, true),
            StoreError::Permanent(source) => (source, false),
        };
        match source.downcast::<Self>() {
            Ok(error) => *error,
            Err(source) if transient => Self::unavailable(source),
            Err(source) => Self::Internal(source),
        }
    }
}
