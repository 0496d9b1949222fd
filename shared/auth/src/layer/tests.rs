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
    AuthLayer::new(PolicyTable::for_services(&services).unwrap(), tokens, sessions)
}

/// A layer, and the tokens of a customer and a merchant.
fn with_sessions() -> (AuthLayer<Sessions>, String, String) {
    let [customer, merchant] = [0, 1].map(|partition| AccessToken::generate(partition).expose().to_owned());
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

async fn admit(
    layer: &AuthLayer<Sessions>,
    path: &str,
    headers: &mut HeaderMap,
) -> Result<Principal, Status> {
    admit_with(layer, path, headers, &CertificateIdentity::Absent).await
}

/// As [`admit`], over a connection with this certificate.
async fn admit_with(
    layer: &AuthLayer<Sessions>,
    path: &str,
    headers: &mut HeaderMap,
    certificate: &CertificateIdentity,
) -> Result<Principal, Status> {
    let credentials = layer.credentials(headers, certificate);
    layer.admit(path, headers, credentials).await.map(|admitted| admitted.principal)
}

async fn refused(layer: &AuthLayer<Sessions>, path: &str, authorization: &[&str]) -> (Code, String) {
    let status = admit(layer, path, &mut headers(authorization)).await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    (status.code(), info.reason)
}

#[tokio::test]
async fn a_person_passes_where_the_role_fits() {
    let (layer, customer, merchant) = with_sessions();
    let [customer, merchant] = [customer, merchant].map(|token| format!("Bearer {token}"));
    let mut headers = headers(&[&merchant.replace("Bearer", "bEARER")]);
    let principal = admit(&layer, CREATE, &mut headers).await.unwrap();
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
    let principal = admit(&layer, VALIDATE, &mut headers(&[&bearer])).await.unwrap();
    assert_eq!((principal.service(), principal.key()), (Some("order-service"), "order-service".to_owned()));
    let refusal = refused(&layer, GET, &[&bearer]).await;
    assert_eq!(refusal, (Code::PermissionDenied, "CALLER_NOT_ALLOWED".to_owned()));
}

#[tokio::test]
async fn only_a_service_that_shows_its_token_calls_as_one() {
    let (layer, customer, _) = with_sessions();
    let [service, guess, session] =
        [SERVICE_TOKEN, &SERVICE_TOKEN.replace('0', "1"), &customer].map(|token| format!("Bearer {token}"));
    assert!(layer.credentials(&headers(&[&service]), &CertificateIdentity::Absent).is_service());
    for authorization in [&[] as &[&str], &[&guess], &[&session], &[&service, &service], &["garbage"]] {
        assert!(
            !layer.credentials(&headers(authorization), &CertificateIdentity::Absent).is_service(),
            "{authorization:?}"
        );
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
    assert_eq!(refused(&layer, GET, &[]).await, (Code::Unauthenticated, "MISSING_CREDENTIALS".to_owned()));
    for path in [GET, LOGIN] {
        let refusal = refused(&layer, path, &[&bearer, &bearer]).await;
        assert_eq!(refusal, (Code::Unauthenticated, "AMBIGUOUS_CREDENTIALS".to_owned()));
    }
}

#[tokio::test]
async fn sessions_that_cannot_be_verified_are_nobody_and_not_anyone() {
    let layer = layer(Sessions::default());
    let bearer = format!("Bearer {}", AccessToken::generate(0).expose());
    let status = admit(&layer, GET, &mut headers(&[&bearer])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_details_error_info().unwrap().reason, "SESSION_STORE_UNAVAILABLE");
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(2)));
}

#[tokio::test]
async fn a_method_for_anyone_looks_nothing_up() {
    let (layer, customer, _) = with_sessions();
    let bearer = format!("Bearer {customer}");
    for authorization in [&[] as &[&str], &[&bearer]] {
        assert_eq!(admit(&layer, LOGIN, &mut headers(authorization)).await.unwrap(), Principal::Anyone);
    }
    assert_eq!(layer.verifier().look_ups.load(Ordering::Relaxed), 0);
    let health = "/grpc.health.v1.Health/Check";
    assert_eq!(admit(&layer, health, &mut headers(&["garbage"])).await.unwrap(), Principal::Anyone);
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
    admit(&layer, LOGIN, &mut headers).await.unwrap();
    assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-request-id"]);
}

/// Claim: a certificate says which service calls, exactly as a token does, and no header says otherwise.
#[tokio::test]
async fn a_certificate_says_which_service_calls() {
    let (layer, customer, merchant) = with_sessions();
    let certificate = |name: &str| CertificateIdentity::Service(name.into());
    let order_token = format!("Bearer {SERVICE_TOKEN}");
    let unknown = order_token.replace('0', "1");
    for authorization in [&[][..], &[&*order_token], &[&*unknown]] {
        let order = certificate("order-service");
        let principal = admit_with(&layer, VALIDATE, &mut headers(authorization), &order).await.unwrap();
        assert_eq!(principal, Principal::Service("order-service".into()), "{authorization:?}");
        // The token of a service that may call does not help one that may not.
        let other = certificate("stranger-service");
        let status = admit_with(&layer, VALIDATE, &mut headers(authorization), &other).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{authorization:?}");
        assert!(layer.credentials(&headers(authorization), &other).is_service());
    }
    // A service that carries a person's call has the person's rights and no others.
    let [customer, merchant] = [customer, merchant].map(|token| format!("Bearer {token}"));
    let order = certificate("order-service");
    let principal = admit_with(&layer, CREATE, &mut headers(&[&merchant]), &order).await.unwrap();
    assert_eq!(principal, Principal::User(person(Role::Merchant)));
    let status = admit_with(&layer, VALIDATE, &mut headers(&[&customer]), &order).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(!layer.credentials(&headers(&[&customer]), &order).is_service());
    let status = admit_with(&layer, VALIDATE, &mut headers(&["Basic eDp5"]), &order).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "a header without sense stays one");
}

/// Claim: a certificate of nobody who is listed has no rights, and its calls none by other credentials either.
#[tokio::test]
async fn an_unlisted_certificate_is_refused_whatever_is_called() {
    let (layer, _, merchant) = with_sessions();
    let authorizations = ["", SERVICE_TOKEN, &merchant].map(|token| format!("Bearer {token}"));
    for path in [CREATE, GET, LOGIN, VALIDATE, "/grpc.health.v1.Health/Check", "/no.such.v1.Service/Method"] {
        for authorization in &authorizations {
            let mut headers = headers(&[authorization]);
            let unlisted = CertificateIdentity::Unlisted;
            let status = admit_with(&layer, path, &mut headers, &unlisted).await.unwrap_err();
            let info = status.get_details_error_info().unwrap();
            assert_eq!(
                (status.code(), &*info.reason),
                (Code::Unauthenticated, "INVALID_CREDENTIALS"),
                "{path} {authorization}"
            );
            assert!(!layer.credentials(&headers, &unlisted).is_service());
        }
    }
}
