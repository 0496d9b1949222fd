//! Verifying sessions through session service, for the services that do not keep them.

use std::time::Duration;

use api::session::v1::ValidateSessionRequest;
use api::session::v1::session_service_client::SessionServiceClient;
use auth::token::AccessToken;
use auth::{Person, SessionVerifier, Verified, VerifyError};
use time::OffsetDateTime;
use tonic::{Code, Status};

use crate::client::{Peer, PeerChannel, RetryPolicy, reason, retry_unavailable};

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
        let policy = RetryPolicy { attempts_max: 3, within: Duration::from_secs(2), ..RetryPolicy::default() };
        Self { client: SessionServiceClient::new(session_service.channel()), policy }
    }
}

impl SessionVerifier for RemoteVerifier {
    async fn verify(&self, token: &AccessToken) -> Result<Verified, VerifyError> {
        let answer = retry_unavailable(&self.policy, || {
            let mut client = self.client.clone();
            let request = ValidateSessionRequest { access_token: token.expose().to_owned() };
            async move { client.validate_session(request).await }
        });
        match answer.await {
            Ok(answer) => verified(&answer.into_inner()).ok_or_else(|| unavailable("an answer without sense")),
            Err(status) => Err(refused(&status)),
        }
    }
}

/// Only the answer that says so means that the token is bad: a call that was refused because of our own service
/// token is our trouble, not the caller's.
fn refused(status: &Status) -> VerifyError {
    let caller = status.code() == Code::Unauthenticated && token_was_refused(status);
    if caller { VerifyError::Invalid } else { unavailable(status.message()) }
}

fn token_was_refused(status: &Status) -> bool {
    reason(status).is_some_and(|reason| reason == "INVALID_CREDENTIALS")
}

fn unavailable(error: &str) -> VerifyError {
    tracing::warn!(error, "session service does not verify sessions");
    VerifyError::Unavailable { retry_after: RETRY_AFTER }
}

fn verified(answer: &api::session::v1::ValidateSessionResponse) -> Option<Verified> {
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
