//! What our clients think of a server that is not the one that is meant.

use std::io;

use runtime::client::{Identities, Outcome, Peer, classify};
use runtime::config::{ServerConfig, TlsConfig};
use runtime::health::Readiness;
use runtime::telemetry::Repeats;
use runtime::tls::Tls;
use testkit::{Authority, CapturedLog, Subject};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::handshakes::{Handshakes, connect, naive};
use super::world::{CATALOG, ORDER, Server, USER, World, call, caller, caller_in_a_hurry, config};
use crate::harness::Harness;
use crate::peers::{serving, status};

/// A server with this certificate of this authority, in place of order service.
async fn impostor(world: &World, issuer: &Authority, subject: &Subject) -> Server {
    let files = world.files_of(issuer, subject, &world.authority.pem());
    Server::start(ServerConfig::for_tests(), world.load(&config(&files))).await
}

/// Claim: a peer of another authority, name or id, or without TLS, is as good as away: calls say UNAVAILABLE and were
/// certainly not made, it hears no request, and the log has one line of it.
#[tokio::test]
async fn a_peer_that_is_not_the_one_that_is_meant_is_as_good_as_away() {
    let world = World::new();
    let client = world.tls(USER);
    let other = Authority::new("another authority").unwrap();
    let mut elsewhere = world.subject(ORDER);
    elsewhere.hosts = vec!["elsewhere.test".to_owned()];
    let cases = [
        ("UnknownIssuer", impostor(&world, &other, &world.subject(ORDER)).await),
        ("not valid for name", impostor(&world, &world.authority, &elsewhere).await),
        (
            "the certificate is not that of order-service: its id is",
            impostor(&world, &world.authority, &world.subject(USER)).await,
        ),
        ("corrupt message", Server::start(ServerConfig::for_tests(), Tls::off()).await),
    ];
    for (what, server) in cases {
        let log = CapturedLog::start(|format| Repeats::default().format(format));
        let peer = server.secure_peer(&client);
        for _ in 0..5 {
            let status = caller_in_a_hurry(&peer).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{what}: {status:?}");
            assert!(matches!(classify(&status), Outcome::DidNotHappen { retryable: true, .. }), "{status:?}");
        }
        let lines = log.lines_with("a peer is not called");
        assert!(
            matches!(&lines[..], [line] if line.contains(what) && line.contains("--order-url")),
            "{lines:#?}"
        );
        assert!(server.stage.seen.lock().unwrap().is_none());
    }
}

/// A client that believes whatever the authority has signed talks to the wrong service.
#[tokio::test]
async fn a_client_that_does_not_look_at_the_id_is_deceived() {
    let world = World::new();
    let server = impostor(&world, &world.authority, &world.subject(USER)).await;
    connect(&server, naive(&world.files(&world.subject(USER)))).await.unwrap();
}

/// Claim: what was wrong is counted at both ends.
#[tokio::test]
async fn failed_handshakes_of_clients_are_counted() {
    let handshakes = Handshakes::start();
    let world = World::new();
    let client = world.tls(USER);
    let server = impostor(&world, &world.authority, &world.subject(USER)).await;
    caller_in_a_hurry(&server.secure_peer(&client)).await.unwrap_err();
    handshakes.ended("client", "unlisted_id", 1).await;
    let other = Authority::new("another authority").unwrap();
    let server = impostor(&world, &other, &world.subject(ORDER)).await;
    caller_in_a_hurry(&server.secure_peer(&client)).await.unwrap_err();
    handshakes.ended("client", "unknown_ca", 1).await;
    handshakes.ended("server", "unknown_ca", 1).await;
}

/// Claim: a server that does not accept our certificate is as good as away, although with TLS 1.3 our side of the handshake
/// has succeeded by then.
#[tokio::test]
async fn a_peer_that_does_not_accept_our_certificate_is_as_good_as_away() {
    let handshakes = Handshakes::start();
    let world = World::new();
    let server = world.server().await;
    let other = Authority::new("another authority").unwrap();
    let files = world.files_of(&other, &world.subject(USER), &world.authority.pem());
    let peer = server.secure_peer(&world.load(&config(&files)));
    for count in 1..=3 {
        let status = caller_in_a_hurry(&peer).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(matches!(classify(&status), Outcome::DidNotHappen { retryable: true, .. }), "{status:?}");
        handshakes.ended("client", "unknown_ca", count).await;
    }
}

/// Claim: a peer that hangs in its handshake is given up, and the call was certainly not made.
#[tokio::test]
async fn a_peer_that_hangs_in_its_handshake_is_given_up() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let client = world.tls(USER);
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut heard, _) = listener.accept().await.unwrap();
    let error = client.connect(stream, "127.0.0.1", "order-service").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    // All that it hears is a greeting.
    let mut greeting = Vec::new();
    heard.read_to_end(&mut greeting).await.unwrap();
    assert_eq!(greeting[0], 22);
}

/// Claim: a peer with a wrong certificate keeps nobody from serving, and the right one is called as soon as it is there.
#[tokio::test]
async fn a_process_serves_while_its_peer_has_a_wrong_certificate() {
    let world = World::new();
    let mut wrong = world.subject(ORDER);
    wrong.hosts = vec!["elsewhere.test".to_owned()];
    let files = world.files(&wrong);
    let server = Server::start(ServerConfig::for_tests(), world.load(&config(&files))).await;
    let peer = server.peer(&world.tls(USER));
    let identities = Identities::default();
    let ready = Readiness::always().with_peers(identities.clone());
    let watched = peer.clone();
    let service = Harness::start_with(ServerConfig::for_tests(), ready, move |core| {
        core.spawn(
            "peers",
            identities.watch(vec![watched], core.dependencies().clone(), core.workers_stop.clone()),
        );
    });
    let service = service.await;
    serving(&service).await;
    assert_eq!(status(&service).await, ServingStatus::Serving);
    assert_eq!(caller(&peer, &[]).await.unwrap_err().code(), Code::Unavailable);
    files.replace(&world.authority.issue(&world.subject(ORDER)).unwrap()).unwrap();
    let right = async { while call(&peer).await.is_err() {} };
    tokio::time::timeout(crate::harness::PATIENCE, right).await.expect("it is called");
}

/// Claim: a peer cannot be called over TLS without knowing who it should be, nor without TLS where that is required.
#[test]
fn a_peer_that_could_not_be_recognised_is_refused_at_the_start() {
    let world = World::new();
    let of = |tls: &Tls, service, url| {
        Peer::new("--peer-url", service, url, None, tls).map(drop).map_err(|error| format!("{error:#}"))
    };
    let files = world.files(&world.subject(USER));
    let https = "https://localhost:1";
    let told = of(&Tls::off(), CATALOG, https).unwrap_err();
    assert!(told.contains("--peer-url: https:// needs --tls-ca"), "{told}");
    let told = of(&world.tls(USER), "session.v1.SessionService", https).unwrap_err();
    assert!(told.contains("the id of session-service in --tls-peer-ids"), "{told}");
    let required = world.load(&TlsConfig { require_tls: true, ..config(&files) });
    let told = of(&required, CATALOG, "http://localhost:1").unwrap_err();
    assert!(told.contains("--peer-url") && told.contains("--require-tls"), "{told}");
}
