//! Handshakes that the server refuses. They are counted by what was wrong, and none of them is a line of the usual log.

use std::io;
use std::sync::Arc;

use auth::token::AccessToken;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::client::Peer;
use runtime::config::ServerConfig;
use runtime::telemetry::Repeats;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use testkit::{Authority, CapturedLog, TlsFiles};
use time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Status;
use tracing::Level;

use super::world::{ORDER, Server, USER, World, caller};
use crate::harness::{GET, PATIENCE};

/// A client that checks nothing but the authority, and shows this certificate.
pub(super) fn naive(files: &TlsFiles) -> ClientConfig {
    naive_with(files, rustls::DEFAULT_VERSIONS)
}

/// The same, that speaks these versions only.
pub(super) fn naive_with(
    files: &TlsFiles,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let read = |path| std::fs::read(path).unwrap();
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(&read(&files.ca)) {
        roots.add(ca.unwrap()).unwrap();
    }
    let chain = CertificateDer::pem_slice_iter(&read(&files.certificate)).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)).unwrap();
    let mut config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Connects as such a client.
pub(super) async fn connect(server: &Server, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.running.addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Calls a method as such a client, and tells what the server answers. Fails when the server ends the connection instead.
pub(super) async fn raw_call(server: &Server, files: &TlsFiles) -> Option<Status> {
    let stream = connect(server, naive(files)).await.ok()?;
    let (mut sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
    #[expect(clippy::disallowed_methods, reason = "ends with its connection")]
    tokio::spawn(connection);
    let request = http::Request::post(format!("{}{GET}", server.running.url()))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(Empty::new())
        .unwrap();
    let response = sender.send_request(request).await.ok()?;
    Status::from_header_map(response.headers())
}

/// The handshakes of this thread, as they are logged for those who look for them.
pub(super) struct Handshakes(CapturedLog);

impl Handshakes {
    pub(super) fn start() -> Self {
        Self(CapturedLog::start_at(Level::DEBUG, |format| format))
    }

    /// Of all lines that are not repeated, as in a service.
    pub(super) fn start_with_a_line_a_cause() -> Self {
        Self(CapturedLog::start_at(Level::DEBUG, |format| Repeats::default().format(format)))
    }

    /// How many handshakes of a side have ended like this.
    pub(super) fn count(&self, side: &str, result: &str) -> usize {
        self.0.lines_with(&format!("side=\"{side}\" result=\"{result}\"")).len()
    }

    /// Waits until there are so many.
    pub(super) async fn ended(&self, side: &str, result: &str, count: usize) {
        let counted = async {
            while self.count(side, result) < count {
                sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(PATIENCE, counted).await.is_ok(), "not {count} times {side} {result}");
    }

    /// The lines that are logged with this text.
    pub(super) fn lines_with(&self, text: &str) -> Vec<String> {
        self.0.lines_with(text)
    }
}

/// What is left of a connection: nothing but an alert, if any.
async fn is_closed(mut stream: impl tokio::io::AsyncRead + Unpin) -> bool {
    let mut rest = Vec::new();
    // A reset is the end of a connection as well.
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.map(drop).is_ok()
}

/// Claim: whoever speaks no TLS, or shows a certificate that is not genuine or not in date, is not served; the reason is
/// counted; and the usual log has no line of it, however often it happens.
#[tokio::test]
async fn a_handshake_that_is_not_right_is_refused_and_counted() {
    let handshakes = Handshakes::start();
    let world = World::new();
    let server = world.server().await;
    let trusted = world.authority.pem();

    let other = Authority::new("another authority").unwrap();
    let namesake = Authority::new("the authority").unwrap();
    let unknown = world.files_of(&other, &world.subject(USER), &trusted);
    let forged = world.files_of(&namesake, &world.subject(USER), &trusted);
    let mut old = world.subject(USER);
    old.valid = (world.now() - Duration::HOUR, world.now() - Duration::SECOND);
    let mut future = world.subject(USER);
    future.valid = (world.now() + Duration::SECOND, world.now() + Duration::HOUR);
    let (expired, early) = (world.files(&old), world.files(&future));

    const TIMES: usize = 20;
    for count in 1..=TIMES {
        for greeting in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
            let mut stream = TcpStream::connect(server.running.addr).await.unwrap();
            stream.write_all(greeting.as_bytes()).await.unwrap();
            assert!(is_closed(stream).await);
        }
        for files in [&unknown, &forged, &expired, &early] {
            assert!(raw_call(&server, files).await.is_none());
        }
        handshakes.ended("server", "plaintext", 2 * count).await;
        handshakes.ended("server", "unknown_ca", 2 * count).await;
        handshakes.ended("server", "expired", 2 * count).await;
    }
    assert!(server.stage.seen.lock().unwrap().is_none(), "no handler was called");
    for level in [" WARN ", "ERROR "] {
        assert_eq!(handshakes.lines_with(level), [""; 0]);
    }
    // Of INFO are the server's own words about itself.
    let of_handshakes = handshakes.lines_with(" INFO ").into_iter().filter(|line| line.contains("TLS"));
    assert_eq!(of_handshakes.count(), 0);
    // The same client with a certificate that is right is answered.
    let right = raw_call(&server, &world.files(&world.subject(USER))).await;
    assert_eq!(right.unwrap().code(), tonic::Code::PermissionDenied);
    handshakes.ended("server", "ok", 1).await;
}

/// Claim: whoever says nothing is not waited for for ever; it holds nobody up, and it counts as a connection.
#[tokio::test]
async fn whoever_stays_silent_is_let_go_and_holds_nobody_up() {
    let handshakes = Handshakes::start();
    let world = World::new();
    let config = ServerConfig { connections_max: 2, ..ServerConfig::for_tests() };
    let server = Server::start(config, world.tls(ORDER)).await;
    let silent = TcpStream::connect(server.running.addr).await.unwrap();
    let peer = server.peer(&world.tls(USER));
    assert_eq!(caller(&peer, &[]).await.unwrap(), "user-service");
    assert!(is_closed(TcpStream::connect(server.running.addr).await.unwrap()).await, "that is one too many");
    assert_eq!(handshakes.lines_with("result=\"timeout\""), [""; 0], "the silent one is still waited for");
    assert!(is_closed(silent).await);
    handshakes.ended("server", "timeout", 1).await;
    assert_eq!(caller(&peer, &[]).await.unwrap(), "user-service");
}

/// Claim: a server that stops does not wait for handshakes that nobody goes on with.
#[tokio::test]
async fn a_stop_does_not_wait_for_silent_clients() {
    let world = World::new();
    let server = world.server().await;
    let _silent = TcpStream::connect(server.running.addr).await.unwrap();
    let peer = server.peer(&world.tls(USER));
    assert_eq!(caller(&peer, &[]).await.unwrap(), "user-service");
    let begun = tokio::time::Instant::now();
    timeout(PATIENCE, server.running.stop()).await.unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(4), "a handshake has five seconds");
}

/// Claim: people need no certificate.
#[tokio::test]
async fn a_client_without_a_certificate_is_served_by_its_token() {
    let handshakes = Handshakes::start();
    let world = World::new();
    let server = world.server().await;
    let token = AccessToken::generate(0).expose().to_owned().into();
    let url = server.running.url();
    let peer =
        Peer::new("--order-url", "order.v1.CatalogService", &url, Some(&token), &world.tls_of_nobody());
    let status = caller(&peer.unwrap(), &[]).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied, "it is a customer");
    handshakes.ended("server", "ok", 1).await;
    handshakes.ended("client", "ok", 1).await;
}

/// Claim: nothing older than TLS 1.2 and nothing but HTTP/2 is spoken.
#[tokio::test]
async fn versions_and_protocols_are_those_of_grpc() {
    let world = World::new();
    let server = world.server().await;
    let files = world.files(&world.subject(USER));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(world.authority.pem().as_bytes()).unwrap()).unwrap();
        let mut client = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        let stream = connect(&server, client).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
    }
    let mut http1 = naive(&files);
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    connect(&server, http1).await.unwrap_err();
}
