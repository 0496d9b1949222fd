//! The layer that enforces each method's policy before the message is decoded.
//!
//! A path that is in no policy table is refused here as UNIMPLEMENTED: a service that was mounted without a
//! policy cannot be reached at all.

use std::sync::Arc;

use api::common::v1::ErrorReason;
use api::refusal::{Refusal, logged};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use tonic::{Code, Status};

use crate::credentials::Credentials;
use crate::token::AccessToken;
use crate::{
    CertificateIdentity, Person, Policy, PolicyTable, Principal, ServiceTokens, SessionVerifier, VerifyError,
};

/// Headers by which a proxy in front of other systems tells who calls. No code here believes them, and it stays so
/// because no code sees them.
const SPOOFABLE: [HeaderName; 10] = [
    HeaderName::from_static("x-user-id"),
    HeaderName::from_static("x-user-role"),
    HeaderName::from_static("x-role"),
    HeaderName::from_static("x-roles"),
    HeaderName::from_static("x-service"),
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-forwarded-user"),
    HeaderName::from_static("x-forwarded-client-cert"),
    HeaderName::from_static("x-remote-user"),
    HeaderName::from_static("x-authenticated-userid"),
];

/// Tells the [`Principal`] of every call that may pass, and refuses the others.
#[derive(Debug)]
pub struct AuthLayer<V>(Arc<Gate<V>>);

#[derive(Debug)]
struct Gate<V> {
    policies: PolicyTable,
    services: ServiceTokens,
    verifier: V,
}

impl<V> Clone for AuthLayer<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V: SessionVerifier> AuthLayer<V> {
    /// A layer for the methods of `policies`.
    pub fn new(policies: PolicyTable, services: ServiceTokens, verifier: V) -> Self {
        Self(Arc::new(Gate { policies, services, verifier }))
    }

    /// The policies that it enforces.
    #[must_use]
    pub fn policies(&self) -> &PolicyTable {
        &self.0.policies
    }

    /// Whoever verifies sessions for it.
    #[must_use]
    pub fn verifier(&self) -> &V {
        &self.0.verifier
    }

    /// What a call shows of its caller, over a connection with this certificate, to be handed to [`AuthLayer::admit`].
    #[must_use]
    pub fn credentials(&self, headers: &HeaderMap, certificate: &CertificateIdentity) -> Credentials {
        Credentials::of(headers, &self.0.services, certificate)
    }

    /// Decides about a call that shows these credentials, and removes them, and what only looks like them, from its
    /// headers.
    ///
    /// # Errors
    /// The answer to a caller who may not pass.
    pub async fn admit(
        &self,
        path: &str,
        headers: &mut HeaderMap,
        credentials: Credentials,
    ) -> Result<Admitted<V>, Status> {
        for name in &SPOOFABLE {
            if headers.remove(name).is_some() {
                tracing::info!(target: "audit", header = name.as_str(), "removed a header that claims an identity");
            }
        }
        // Also for methods that are open to anyone: whoever shows such a certificate is told about it by every call.
        if matches!(credentials, Credentials::UnlistedCertificate) {
            return Err(self.invalid());
        }
        let policy = self.0.policies.get(path).ok_or_else(|| {
            self.refuse(Code::Unimplemented, ErrorReason::UnknownMethod, "there is no such method")
        })?;
        if PolicyTable::is_exempt(path) {
            return Ok(Admitted::once(Principal::Anyone));
        }
        headers.remove(AUTHORIZATION);
        match credentials {
            Credentials::Malformed => Err(self.invalid()),
            Credentials::Ambiguous => Err(self.refuse(
                Code::Unauthenticated,
                ErrorReason::AmbiguousCredentials,
                "there is more than one authorization header",
            )),
            _ if policy.admits_anyone() => Ok(Admitted::once(Principal::Anyone)),
            Credentials::Missing => Err(self.refuse(
                Code::Unauthenticated,
                ErrorReason::MissingCredentials,
                "the method needs an authorization header",
            )),
            Credentials::Session(token) => {
                let principal = Principal::User(self.person(policy, &token).await?);
                let right =
                    policy.streams().then(|| Right { auth: self.clone(), policy: policy.clone(), token });
                Ok(Admitted { principal, right })
            }
            Credentials::UnknownService | Credentials::UnlistedCertificate => Err(self.invalid()),
            Credentials::Service(name) if policy.admits_service(&name) => {
                Ok(Admitted::once(Principal::Service(name)))
            }
            Credentials::Service(_) => Err(self.refuse(
                Code::PermissionDenied,
                ErrorReason::CallerNotAllowed,
                "the method is not for this service",
            )),
        }
    }

    /// The person of a live session, whose role fits.
    async fn person(&self, policy: &Policy, token: &AccessToken) -> Result<Person, Status> {
        let verified = self.0.verifier.verify(token).await.map_err(|error| self.unverified(error))?;
        if policy.admits_role(verified.person.role) {
            return Ok(verified.person);
        }
        Err(self.refuse(
            Code::PermissionDenied,
            ErrorReason::PermissionDenied,
            "the method is not for the caller's role",
        ))
    }

    /// The metadata tells a caller that shows somebody else's token in its message, as services do to session
    /// service, that its own was refused and not the one that it shows.
    fn invalid(&self) -> Status {
        let message = "the credentials are not valid";
        Refusal::new(Code::Unauthenticated, &ErrorReason::InvalidCredentials, message)
            .with("header", AUTHORIZATION.as_str())
            .into_status()
    }

    fn unverified(&self, error: VerifyError) -> Status {
        match error {
            VerifyError::Invalid => self.invalid(),
            // The verifier has logged why.
            VerifyError::Unavailable { retry_after } => logged(
                Refusal::new(
                    Code::Unavailable,
                    &ErrorReason::SessionStoreUnavailable,
                    "sessions cannot be verified now",
                )
                .retry_after(retry_after)
                .into_status(),
            ),
        }
    }

    fn refuse(&self, code: Code, reason: ErrorReason, message: &'static str) -> Status {
        Refusal::new(code, &reason, message).into_status()
    }
}

/// A call that may pass.
#[derive(Debug)]
pub struct Admitted<V> {
    /// Who calls.
    pub principal: Principal,
    /// Present where the response is a stream, which may outlive its caller's right to it. A service keeps its token.
    pub right: Option<Right<V>>,
}

impl<V> Admitted<V> {
    /// Nothing has to be decided again.
    fn once(principal: Principal) -> Self {
        Self { principal, right: None }
    }
}

/// A session's right to one method.
#[derive(Debug)]
pub struct Right<V> {
    auth: AuthLayer<V>,
    policy: Policy,
    token: AccessToken,
}

impl<V: SessionVerifier> Right<V> {
    /// What a new call with the same credentials would be told.
    ///
    /// # Errors
    /// When it would be refused.
    pub(crate) async fn check(&self) -> Result<(), Status> {
        self.auth.person(&self.policy, &self.token).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
