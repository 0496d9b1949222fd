//! What the layer needs of the place where sessions are kept.

use std::time::Duration;

use metrics::{Counter, Family};
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

static VERIFICATIONS: Family<Counter, 1> = Family::new(
    "session_verifications_total",
    "Access tokens whose session was looked for, by what came of it.",
    ["result"],
    4,
);

/// Finds out whose session a token belongs to.
pub trait SessionVerifier: Clone + Send + Sync + 'static {
    /// Verifies a token whose shape and checksum are right.
    fn verify(
        &self,
        token: &token::AccessToken,
    ) -> impl Future<Output = Result<Verified, VerifyError>> + Send;
}

/// How many tokens a cache knew already.
pub(crate) fn cached() -> Counter {
    VERIFICATIONS.with(["cached"])
}

/// Counts what another verifier finds.
#[derive(Debug, Clone)]
pub struct CountedVerifier<V> {
    inner: V,
    verified: Counter,
    refused: Counter,
    unavailable: Counter,
}

impl<V> CountedVerifier<V> {
    /// Counts what `inner` finds.
    pub fn new(inner: V) -> Self {
        let [verified, refused, unavailable] =
            ["verified", "refused", "unavailable"].map(|result| VERIFICATIONS.with([result]));
        Self { inner, verified, refused, unavailable }
    }

    /// Whose findings are counted.
    pub fn inner(&self) -> &V {
        &self.inner
    }
}

impl<V: SessionVerifier> SessionVerifier for CountedVerifier<V> {
    async fn verify(&self, token: &token::AccessToken) -> Result<Verified, VerifyError> {
        let outcome = self.inner.verify(token).await;
        match &outcome {
            Ok(_) => self.verified.increment(),
            Err(VerifyError::Invalid) => self.refused.increment(),
            Err(VerifyError::Unavailable { .. }) => self.unavailable.increment(),
        }
        outcome
    }
}
