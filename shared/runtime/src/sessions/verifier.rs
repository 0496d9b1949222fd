//! Verifies sessions by asking session service.

use std::time::Duration;

use api::common::v1::ErrorReason;
use api::refusal::Reason as _;
use api::session::v1::session_service_client::SessionServiceClient;
use api::session::v1::{ValidateSessionRequest, ValidateSessionResponse};
use auth::token::AccessToken;
use auth::{Person, SessionVerifier, Verified, VerifyError};
use time::OffsetDateTime;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::client::{Peer, PeerChannel, RetryPolicy, retry_unavailable};
use crate::deadline::Deadline;

/// A look-up takes a millisecond; whoever needs longer leaves the call no time for its own work.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Asks session service. Wrap it in an [`auth::CachingVerifier`].
#[derive(Debug, Clone)]
pub struct RemoteVerifier {
    client: SessionServiceClient<PeerChannel>,
    policy: RetryPolicy,
}

impl RemoteVerifier {
    /// Asks this peer.
    #[must_use]
    pub fn new(session_service: &Peer) -> Self {
        let policy =
            RetryPolicy { attempts_max: 3, within: Duration::from_secs(2), ..RetryPolicy::default() };
        Self { client: SessionServiceClient::new(session_service.channel()), policy }
    }
}

impl SessionVerifier for RemoteVerifier {
    async fn verify(&self, token: &AccessToken) -> Result<Verified, VerifyError> {
        let answer = retry_unavailable(&self.policy, || {
            let mut client = self.client.clone();
            let mut request =
                Request::new(ValidateSessionRequest { access_token: token.expose().to_owned() });
            request.set_timeout(attempt_timeout());
            async move { client.validate_session(request).await }
        });
        match answer.await {
            Ok(answer) => {
                verified(&answer.into_inner()).ok_or_else(|| unavailable("an answer without sense"))
            }
            Err(status) => Err(refused(&status)),
        }
    }
}

fn attempt_timeout() -> Duration {
    Deadline::current().map_or(ATTEMPT_TIMEOUT, |deadline| deadline.remaining().min(ATTEMPT_TIMEOUT))
}

/// Only an answer about the token that was shown means that it is bad. A call that was refused because of its
/// own `authorization` header, which is our service token, is our trouble and not the caller's.
fn refused(status: &Status) -> VerifyError {
    let info = status.get_details_error_info();
    let is_about_the_token = info.is_some_and(|info| {
        info.reason == ErrorReason::InvalidCredentials.wire_name() && !info.metadata.contains_key("header")
    });
    if status.code() == Code::Unauthenticated && is_about_the_token {
        VerifyError::Invalid
    } else {
        unavailable(status.message())
    }
}

fn unavailable(error: &str) -> VerifyError {
    tracing::warn!(error, "session service does not verify sessions");
    VerifyError::Unavailable { retry_after: RETRY_AFTER }
}

fn verified(answer: &ValidateSessionResponse) -> Option<Verified> {
    let expires = answer.access_expire_time.as_ref()?;
    let nanos = u64::try_from(expires.nanos).ok()?;
    Some(Verified {
        person: Person {
            user_id: answer.user_id.parse().ok()?,
            role: answer.role().known()?,
            session_id: answer.session_id.parse().ok()?,
        },
        expires_at: OffsetDateTime::from_unix_timestamp(expires.seconds).ok()? + Duration::from_nanos(nanos),
    })
}

#[cfg(test)]
mod tests {
    use api::refusal::Refusal;

    use super::*;

    #[test]
    fn only_a_refusal_of_the_shown_token_is_the_callers_fault() {
        let refusal = || Refusal::new(Code::Unauthenticated, &ErrorReason::InvalidCredentials, "no");
        assert_eq!(refused(&refusal().into_status()), VerifyError::Invalid);
        let ours = refusal().with("header", "authorization").into_status();
        for status in
            [ours, Status::unauthenticated(""), Status::permission_denied(""), Status::unavailable("")]
        {
            assert!(matches!(refused(&status), VerifyError::Unavailable { .. }), "{status:?}");
        }
    }
}
