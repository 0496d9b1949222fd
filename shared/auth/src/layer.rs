//! The layer that enforces each method's policy before the message is decoded.
//!
//! A path that is in no policy table is refused here as UNIMPLEMENTED: a service that was mounted without a
//! policy can not be reached at all.

use std::sync::Arc;

use api::common::v1::ErrorReason;
use api::refusal::Refusal;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use tonic::{Code, Status};

use crate::service_tokens::is_plausible;
use crate::token::AccessToken;
use crate::{Person, Policy, PolicyTable, Principal, ServiceTokens, SessionVerifier, VerifyError};

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
        let policy = self.0.policies.get(path).ok_or_else(|| {
            self.refuse(Code::Unimplemented, ErrorReason::UnknownMethod, "there is no such method")
        })?;
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
            Some(Credentials::Session(token)) => self.person(policy, &token).await.map(Principal::User),
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

    /// Whether the call shows the token of a service of ours; what it may do is another question. Costs a session's
    /// call nothing but a look at how its token begins.
    #[must_use]
    pub fn is_service_call(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        if !shown.is_some_and(is_plausible) {
            return false;
        }
        match self.credentials(headers) {
            Ok(Some(Credentials::Other(token))) => self.0.services.holder(&token).is_some(),
            _ => false,
        }
    }

    /// What decides about a stream that this call opens for as long as it lives; `None` where nothing has to be
    /// decided twice: a service keeps its token, and an answer that is no stream ends by itself.
    pub(crate) fn right(&self, path: &str, headers: &HeaderMap) -> Option<Right<V>> {
        let policy = self.0.policies.get(path).filter(|policy| policy.streams())?.clone();
        match self.credentials(headers) {
            Ok(Some(Credentials::Session(token))) => Some(Right { auth: self.clone(), policy, token }),
            _ => None,
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

    fn credentials(&self, headers: &HeaderMap) -> Result<Option<Credentials>, Status> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
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
            VerifyError::Unavailable { retry_after } => Refusal::new(
                Code::Unavailable,
                &ErrorReason::SessionStoreUnavailable,
                "sessions cannot be verified now",
            )
            .retry_after(retry_after)
            .into_status(),
        }
    }

    fn refuse(&self, code: Code, reason: ErrorReason, message: &'static str) -> Status {
        Refusal::new(code, &reason, message).into_status()
    }
}

/// A session's right to one method.
pub(crate) struct Right<V> {
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use http::HeaderValue;
    use time::OffsetDateTime;
    use tonic_types::StatusExt as _;
    use types::{Role, SessionId, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::{Person, Verified};

    const SERVICE_TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0aa";
    const CREATE: &str = "/order.v1.CatalogService/CreateProduct";
    const GET: &str = "/order.v1.CatalogService/GetProduct";
    const LOGIN: &str = "/session.v1.SessionService/Login";
    const VALIDATE: &str = "/session.v1.SessionService/ValidateSession";

    /// Knows some tokens; without any it is away.
    #[derive(Clone, Default)]
    struct Sessions {
        known: HashMap<String, Role>,
        look_ups: Arc<AtomicUsize>,
    }

    impl SessionVerifier for Sessions {
        async fn verify(&self, token: &AccessToken) -> Result<Verified, VerifyError> {
            self.look_ups.fetch_add(1, Ordering::Relaxed);
            if self.known.is_empty() {
                return Err(VerifyError::Unavailable { retry_after: Duration::from_secs(2) });
            }
            let role = *self.known.get(token.expose()).ok_or(VerifyError::Invalid)?;
            Ok(Verified { person: person(role), expires_at: OffsetDateTime::UNIX_EPOCH })
        }
    }

    fn person(role: Role) -> Person {
        Person {
            user_id: UserId::from_uuid(Uuid::from_u128(1)),
            role,
            session_id: SessionId::from_uuid(Uuid::from_u128(2)),
        }
    }

    fn layer(sessions: Sessions) -> AuthLayer<Sessions> {
        let services = ["order.v1.CatalogService", "session.v1.SessionService"];
        let tokens = ServiceTokens::parse(&format!("order-service={SERVICE_TOKEN}").into()).unwrap();
        AuthLayer::new("test.tristore", PolicyTable::for_services(&services).unwrap(), tokens, sessions)
    }

    /// A layer, and the tokens of a customer and a merchant.
    fn with_sessions() -> (AuthLayer<Sessions>, String, String) {
        let [customer, merchant] =
            [0, 1].map(|partition| AccessToken::generate(partition).expose().to_owned());
        let known = [(customer.clone(), Role::Customer), (merchant.clone(), Role::Merchant)].into();
        (layer(Sessions { known, ..Sessions::default() }), customer, merchant)
    }

    fn headers(authorization: &[&str]) -> HeaderMap {
        let values = authorization.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap()));
        let mut headers = HeaderMap::new();
        values.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    async fn refused(layer: &AuthLayer<Sessions>, path: &str, authorization: &[&str]) -> (Code, String) {
        let status = layer.admit(path, &mut headers(authorization)).await.unwrap_err();
        let info = status.get_details_error_info().unwrap();
        (status.code(), info.reason)
    }

    #[tokio::test]
    async fn a_person_passes_where_the_role_fits() {
        let (layer, customer, merchant) = with_sessions();
        let [customer, merchant] = [customer, merchant].map(|token| format!("Bearer {token}"));
        let mut headers = headers(&[&merchant.replace("Bearer", "bEARER")]);
        let principal = layer.admit(CREATE, &mut headers).await.unwrap();
        assert_eq!(principal, Principal::User(person(Role::Merchant)));
        assert!(headers.is_empty(), "a handler has no use for the token");
        assert_eq!(
            refused(&layer, CREATE, &[&customer]).await,
            (Code::PermissionDenied, "PERMISSION_DENIED".to_owned())
        );
        assert_eq!(
            refused(&layer, VALIDATE, &[&customer]).await,
            (Code::PermissionDenied, "PERMISSION_DENIED".to_owned())
        );
    }

    #[tokio::test]
    async fn a_service_passes_where_it_is_named() {
        let (layer, ..) = with_sessions();
        let bearer = format!("Bearer {SERVICE_TOKEN}");
        let principal = layer.admit(VALIDATE, &mut headers(&[&bearer])).await.unwrap();
        assert_eq!(
            (principal.service(), principal.key()),
            (Some("order-service"), "order-service".to_owned())
        );
        let refusal = refused(&layer, GET, &[&bearer]).await;
        assert_eq!(refusal, (Code::PermissionDenied, "CALLER_NOT_ALLOWED".to_owned()));
    }

    #[tokio::test]
    async fn only_a_service_that_shows_its_token_calls_as_one() {
        let (layer, customer, _) = with_sessions();
        let [service, guess, session] = [SERVICE_TOKEN, &SERVICE_TOKEN.replace('0', "1"), &customer]
            .map(|token| format!("Bearer {token}"));
        assert!(layer.is_service_call(&headers(&[&service])));
        for authorization in [&[] as &[&str], &[&guess], &[&session], &[&service, &service], &["garbage"]] {
            assert!(!layer.is_service_call(&headers(authorization)), "{authorization:?}");
        }
    }

    #[tokio::test]
    async fn bad_credentials_are_refused_without_a_look_up() {
        let (layer, customer, _) = with_sessions();
        let refresh = crate::token::RefreshToken::generate(0).expose().to_owned();
        let damaged = format!("{}A", &customer[..customer.len() - 1]);
        let damaged = if damaged == customer { damaged.replace("_A", "_B") } else { damaged };
        for authorization in [
            "",
            "Bearer",
            "Bearer ",
            "Basic dXNlcjpwYXNz",
            "Bearer x",
            &format!("Bearer {refresh}"),
            &format!("Bearer {damaged}"),
            &format!("Bearer  {customer}"),
            &format!("Bearer {customer} {customer}"),
            &format!("Bearer {}", SERVICE_TOKEN.replace('0', "1")),
            &customer,
        ] {
            let refusal = refused(&layer, GET, &[authorization]).await;
            assert_eq!(refusal, (Code::Unauthenticated, "INVALID_CREDENTIALS".to_owned()), "{authorization}");
        }
        assert_eq!(layer.verifier().look_ups.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn an_unknown_session_looks_like_any_other_bad_token() {
        let (layer, ..) = with_sessions();
        let unknown = format!("Bearer {}", AccessToken::generate(5).expose());
        let refusal = refused(&layer, GET, &[&unknown]).await;
        assert_eq!(refusal, (Code::Unauthenticated, "INVALID_CREDENTIALS".to_owned()));
    }

    #[tokio::test]
    async fn missing_and_ambiguous_credentials_are_told_apart() {
        let (layer, customer, _) = with_sessions();
        let bearer = format!("Bearer {customer}");
        assert_eq!(
            refused(&layer, GET, &[]).await,
            (Code::Unauthenticated, "MISSING_CREDENTIALS".to_owned())
        );
        for path in [GET, LOGIN] {
            let refusal = refused(&layer, path, &[&bearer, &bearer]).await;
            assert_eq!(refusal, (Code::Unauthenticated, "AMBIGUOUS_CREDENTIALS".to_owned()));
        }
    }

    #[tokio::test]
    async fn sessions_that_cannot_be_verified_are_nobody_and_not_anyone() {
        let layer = layer(Sessions::default());
        let bearer = format!("Bearer {}", AccessToken::generate(0).expose());
        let status = layer.admit(GET, &mut headers(&[&bearer])).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.get_details_error_info().unwrap().reason, "SESSION_STORE_UNAVAILABLE");
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(2)));
    }

    #[tokio::test]
    async fn a_method_for_anyone_looks_nothing_up() {
        let (layer, customer, _) = with_sessions();
        let bearer = format!("Bearer {customer}");
        for authorization in [&[] as &[&str], &[&bearer]] {
            assert_eq!(layer.admit(LOGIN, &mut headers(authorization)).await.unwrap(), Principal::Anyone);
        }
        assert_eq!(layer.verifier().look_ups.load(Ordering::Relaxed), 0);
        let health = "/grpc.health.v1.Health/Check";
        assert_eq!(layer.admit(health, &mut headers(&["garbage"])).await.unwrap(), Principal::Anyone);
    }

    #[tokio::test]
    async fn a_path_without_a_policy_is_no_method() {
        let (layer, ..) = with_sessions();
        for path in ["/order.v1.OrderService/PlaceOrder", "/grpc.health.v1.Health/check", "/", ""] {
            assert_eq!(
                refused(&layer, path, &[]).await,
                (Code::Unimplemented, "UNKNOWN_METHOD".to_owned()),
                "{path}"
            );
        }
    }

    #[tokio::test]
    async fn headers_that_claim_an_identity_are_taken_away() {
        let (layer, ..) = with_sessions();
        let mut headers = headers(&[]);
        headers.insert("x-user-id", HeaderValue::from_static("admin"));
        headers.append("x-forwarded-client-cert", HeaderValue::from_static("a"));
        headers.append("x-forwarded-client-cert", HeaderValue::from_static("b"));
        headers.insert("x-request-id", HeaderValue::from_static("kept"));
        layer.admit(LOGIN, &mut headers).await.unwrap();
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-request-id"]);
    }
}
