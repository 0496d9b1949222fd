//! A service is whom its certificate names, and no header says otherwise.

use api::order::v1::GetProductRequest;
use api::order::v1::catalog_service_client::CatalogServiceClient;
use auth::Principal;
use auth::token::AccessToken;
use runtime::client::Peer;
use runtime::config::ServerConfig;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::world::{ORDER, STRANGER, Server, USER, World, caller};
use crate::harness::{SERVICE_TOKEN, refusal, take};

fn person() -> String {
    format!("Bearer {}", AccessToken::generate(0).expose())
}

/// Gets a product as whoever this header says.
async fn get(peer: &Peer, id: &str, authorization: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(GetProductRequest { product_id: id.to_owned() });
    if let Some(value) = authorization {
        request.metadata_mut().insert("authorization", value.parse().unwrap());
    }
    CatalogServiceClient::new(peer.channel()).get_product(request).await.map(Response::into_inner).map(drop)
}

/// Claim: a certificate has exactly the rights of its service's token, and a service's token shown over it adds none.
#[tokio::test]
async fn a_service_is_whom_its_certificate_names() {
    let world = World::new();
    let server = world.server().await;
    let order_token = format!("Bearer {SERVICE_TOKEN}");
    let (nobody, user, order) =
        (server.peer(&world.tls_of_nobody()), server.peer(&world.tls(USER)), server.peer(&world.tls(ORDER)));
    // Without a certificate the token says who calls.
    assert_eq!(caller(&nobody, &[("authorization", &order_token)]).await.unwrap(), "order-service");
    assert_eq!(caller(&order, &[]).await.unwrap(), "order-service");
    for headers in [&[][..], &[("authorization", &*order_token)], &[("x-service", "order-service")]] {
        assert_eq!(caller(&user, headers).await.unwrap(), "user-service", "{headers:?}");
    }
    // Headers of proxies make nobody a service.
    let claim = format!("By={ORDER};URI={ORDER}");
    let status = caller(&nobody, &[("x-forwarded-client-cert", &claim)]).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Unauthenticated, "MISSING_CREDENTIALS".to_owned()));
    // The method is for persons.
    let by_certificate = refusal(&get(&order, "any", None).await.unwrap_err());
    let by_token = refusal(&get(&nobody, "any", Some(&order_token)).await.unwrap_err());
    assert_eq!(by_certificate, (Code::PermissionDenied, "CALLER_NOT_ALLOWED".to_owned()));
    assert_eq!(by_certificate, by_token);
}

/// Claim: a service that carries a person's call has that person's rights, and not its own.
#[tokio::test]
async fn with_a_sessions_token_the_person_calls() {
    let world = World::new();
    let server = world.server().await;
    for tls in [world.tls(USER), world.tls_of_nobody()] {
        let peer = server.peer(&tls);
        get(&peer, "any", Some(&person())).await.unwrap();
        let seen = server.stage.seen.lock().unwrap().take().unwrap();
        assert!(matches!(seen.principal, Principal::User(_)), "{seen:?}");
        let status = caller(&peer, &[("authorization", &person())]).await.unwrap_err();
        assert_eq!(refusal(&status).0, Code::PermissionDenied);
    }
}

/// Claim: a genuine certificate of somebody who is not listed is good for nothing.
#[tokio::test]
async fn a_certificate_that_is_not_listed_is_refused_whatever_it_calls() {
    let world = World::new();
    let server = world.server().await;
    let (mut nameless, mut two) = (world.subject(USER), world.subject(USER));
    nameless.uris.clear();
    two.uris.push(ORDER.to_owned());
    let invalid = (Code::Unauthenticated, "INVALID_CREDENTIALS".to_owned());
    let stranger = server.peer(&world.tls(STRANGER));
    for authorization in [None, Some(person()), Some(format!("Bearer {SERVICE_TOKEN}"))] {
        let status = get(&stranger, "any", authorization.as_deref()).await.unwrap_err();
        assert_eq!(refusal(&status), invalid, "{authorization:?}");
    }
    let health = HealthClient::new(stranger.channel()).check(HealthCheckRequest::default()).await;
    assert_eq!(refusal(&health.unwrap_err()), invalid);
    assert!(server.stage.seen.lock().unwrap().is_none(), "no handler was called");
    // Our own clients do not even load such certificates; others may show them.
    for subject in [nameless, two] {
        let files = world.files(&subject);
        let status = super::handshakes::raw_call(&server, &files).await.unwrap();
        assert_eq!(refusal(&status), invalid, "{subject:?}");
    }
}

/// Claim: a service that is known by its certificate has the places of services, and a person over the same connection
/// has not.
#[tokio::test]
async fn a_certificate_gives_a_service_its_own_places() {
    let world = World::new();
    let config = ServerConfig { calls_per_peer_max: 1, ..ServerConfig::for_tests() };
    let server = Server::start(config, world.tls(ORDER)).await;
    let peer = server.peer(&world.tls(USER));
    let (one, other) = (person(), person());
    let first = get(&peer, "wait", Some(&one));
    let second = async {
        take(&server.stage.waiting).await;
        let status = get(&peer, "any", Some(&other)).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
        assert_eq!(caller(&peer, &[]).await.unwrap(), "user-service");
        server.stage.go_on.add_permits(1);
    };
    let (first, ()) = tokio::join!(first, second);
    first.unwrap();
}
