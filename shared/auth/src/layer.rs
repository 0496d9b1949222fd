//! The layer that enforces each method's policy before the message is decoded.
//!
//! A path that is in no policy table is refused here as UNIMPLEMENTED: a service that was mounted without a
//! policy can not be reached at all.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::common::v1::ErrorReason;
use api::refusal::Refusal;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::service_tokens::is_plausible;
use crate::token::AccessToken;
use crate::{PolicyTable, Principal, ServiceTokens, SessionVerifier, VerifyError};

/// Headers by which a proxy in front of other systems tells who calls. Nobody here believes them, and taking
/// them away keeps it so.
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

/// Puts a [`Principal`] into every request that may pass, and answers the others.
#[derive(Debug)]
pub struct AuthLayer<V>(Arc<Gate<V>>);

#[derive(Debug)]
struct Gate<V> {
    domain: &'static str,
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
    /// A layer for the methods of `policies`. `domain` goes into ErrorInfo, such as `order.tristore`.
    pub fn new(domain: &'static str, policies: PolicyTable, services: ServiceTokens, verifier: V) -> Self {
        Self(Arc::new(Gate { domain, policies, services, verifier }))
    }

    /// The domain of this server's errors.
    #[must_use]
    pub fn domain(&self) -> &'static str {
        self.0.domain
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

    /// Decides about a call, and takes credentials and what only looks like them out of its headers.
    ///
    /// # Errors
    /// The answer to a caller who may not pass.
    pub async fn admit(&self, path: &str, headers: &mut HeaderMap) -> Result<Principal, Status> {
        for name in &SPOOFABLE {
            if headers.remove(name).is_some() {
                tracing::info!(target: "audit", header = name.as_str(), "took a header away that claims an identity");
            }
        }
        let policy = self
            .0
            .policies
            .get(path)
            .ok_or_else(|| self.refuse(Code::Unimplemented, ErrorReason::UnknownMethod, "there is no such method"))?;
        if PolicyTable::is_exempt(path) {
            return Ok(Principal::Anyone);
        }
        let credentials = self.credentials(headers)?;
        headers.remove(AUTHORIZATION);
        if policy.admits_anyone() {
            return Ok(Principal::Anyone);
        }
        match credentials {
            None => Err(self.refuse(
                Code::Unauthenticated,
                ErrorReason::MissingCredentials,
                "the method needs an authorization header",
            )),
            Some(Credentials::Session(token)) => {
                let verified = self.0.verifier.verify(&token).await.map_err(|error| self.unverified(error))?;
                if !policy.admits_role(verified.person.role) {
                    return Err(self.refuse(
                        Code::PermissionDenied,
                        ErrorReason::PermissionDenied,
                        "the method is not for the caller's role",
                    ));
                }
                Ok(Principal::User(verified.person))
            }
            Some(Credentials::Other(token)) => {
                let name = self.0.services.holder(&token).ok_or_else(|| self.invalid())?;
                if !policy.admits_service(&name) {
                    return Err(self.refuse(
                        Code::PermissionDenied,
                        ErrorReason::CallerNotAllowed,
                        "the method is not for this service",
                    ));
                }
                Ok(Principal::Service(name))
            }
        }
    }

    fn credentials(&self, headers: &HeaderMap) -> Result<Option<Credentials>, Status> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(self.refuse(
                Code::Unauthenticated,
                ErrorReason::AmbiguousCredentials,
                "there is more than one authorization header",
            ));
        }
        let bearer = value.to_str().ok().and_then(bearer).ok_or_else(|| self.invalid())?;
        if let Some(token) = AccessToken::parse(bearer) {
            Ok(Some(Credentials::Session(token)))
        } else if is_plausible(bearer) {
            Ok(Some(Credentials::Other(bearer.to_owned())))
        } else {
            Err(self.invalid())
        }
    }

    fn invalid(&self) -> Status {
        self.refuse(Code::Unauthenticated, ErrorReason::InvalidCredentials, "the credentials are not valid")
    }

    fn unverified(&self, error: VerifyError) -> Status {
        match error {
            VerifyError::Invalid => self.invalid(),
            VerifyError::Unavailable { retry_after } => Refusal::new(
                Code::Unavailable,
                &ErrorReason::SessionStoreUnavailable,
                self.0.domain,
                "sessions cannot be verified now",
            )
            .retry_after(retry_after)
            .into_status(),
        }
    }

    fn refuse(&self, code: Code, reason: ErrorReason, message: &'static str) -> Status {
        Refusal::new(code, &reason, self.0.domain, message).into_status()
    }
}

enum Credentials {
    Session(AccessToken),
    Other(String),
}

/// The token of `Bearer <token>`; the scheme's case does not matter.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let right = scheme.eq_ignore_ascii_case("bearer") && token.bytes().all(|byte| byte.is_ascii_graphic());
    right.then_some(token)
}

impl<S, V: SessionVerifier> Layer<S> for AuthLayer<V> {
    type Service = AuthService<S, V>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthService { inner, auth: self.clone() }
    }
}

/// A service behind an [`AuthLayer`].
#[derive(Debug)]
pub struct AuthService<S, V> {
    inner: S,
    auth: AuthLayer<V>,
}

impl<S: Clone, V> Clone for AuthService<S, V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), auth: self.auth.clone() }
    }
}

impl<S, V, B> Service<Request<B>> for AuthService<S, V>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    V: SessionVerifier,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The clone that was polled ready makes the call; its replacement is polled before the next one.
        let replacement = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, replacement);
        let auth = self.auth.clone();
        Box::pin(async move {
            let path = request.uri().clone();
            match auth.admit(path.path(), request.headers_mut()).await {
                Ok(principal) => {
                    request.extensions_mut().insert(principal);
                    inner.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}
