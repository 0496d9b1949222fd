//! What the layer needs of the place where sessions are kept.

use std::time::Duration;

use time::OffsetDateTime;

use crate::{Person, token};

/// A live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Whose it is.
    pub person: Person,
    /// When the access token ends, in any case.
    pub expires_at: OffsetDateTime,
}

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Unknown, expired or revoked, or its user is deactivated. The caller is not told which.
    #[error("the token is not that of a live session")]
    Invalid,
    /// The place where sessions are kept does not answer; the verifier has logged why.
    #[error("sessions cannot be verified now")]
    Unavailable {
        /// When a repeat makes sense.
        retry_after: Duration,
    },
}

/// Finds out whose session a token belongs to.
pub trait SessionVerifier: Clone + Send + Sync + 'static {
    /// Verifies a token whose shape and checksum are right.
    fn verify(
        &self,
        token: &token::AccessToken,
    ) -> impl Future<Output = Result<Verified, VerifyError>> + Send;
}
