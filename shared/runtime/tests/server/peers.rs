//! A peer that is something else than the service that is meant.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runtime::client::{Identities, Peer};
use runtime::config::ServerConfig;
use runtime::health::Readiness;
use runtime::tls::Tls;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Harness, PATIENCE};

const CATALOG: &str = "order.v1.CatalogService";
const USERS: &str = "user.v1.UserService";

/// A service with one peer, which should serve `service`.
async fn service(addr: SocketAddr, service: &'static str) -> Harness {
    let identities = Identities::default();
    let ready = Readiness::always().with_peers(identities.clone());
    let token: SecretString = "0f1e2d3c4b5a69788796a5b4c3d2e1f0bb".into();
    let peer =
        Peer::new("--user-url", service, &format!("http://{addr}"), Some(&token), &Tls::off()).unwrap();
    let watch = |core: &runtime::server::Core| {
        core.spawn(
            "peers",
            identities.watch(vec![peer], core.dependencies().clone(), core.workers_stop.clone()),
        );
    };
    Harness::start_with(ServerConfig::for_tests(), ready, watch).await
}

/// What health says once it has had time to hear of the peer.
pub(crate) async fn status(harness: &Harness) -> ServingStatus {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(harness.channel.clone()).check(request).await.unwrap().into_inner().status()
}

pub(crate) async fn serving(harness: &Harness) {
    let serving = async {
        while status(harness).await != ServingStatus::Serving {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, serving).await.expect("it serves");
}

/// What this thread logs.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub(crate) fn of(&self, text: &str) -> Vec<String> {
        let lines = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        lines.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    pub(crate) async fn told(&self, text: &str) {
        let told = async {
            while self.of(text).is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, told).await.unwrap_or_else(|_| {
            let lines = self.of("");
            panic!("the log does not say {text}: {lines:#?}")
        });
    }
}

pub(crate) fn logged() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn a_peer_that_is_right_or_away_keeps_nobody_from_serving() {
    let peer = Harness::start().await;
    serving(&service(peer.server.addr, CATALOG).await).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    serving(&service(nobody, CATALOG).await).await;
    // A peer that says nothing may be a slow one.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    serving(&service(silent.local_addr().unwrap(), CATALOG).await).await;
}

/// Claim: the address of another service is named as the reason why nothing is served.
#[tokio::test]
async fn another_service_at_a_peers_address_is_named_and_nothing_is_served() {
    let (lines, _guard) = logged();
    let peer = Harness::start().await;
    let service = service(peer.server.addr, USERS).await;
    lines.told("not serving yet").await;
    let reason = lines.of("not serving yet").concat();
    let expected = format!("--user-url: http://{} is not {USERS}: it serves {CATALOG}", peer.server.addr);
    assert!(reason.contains(&expected), "{reason}");
    assert_eq!(status(&service).await, ServingStatus::NotServing);
    assert!(peer.stage.seen.lock().unwrap().is_none(), "no method of the other service was called");
}

/// Claim: a server that speaks something else is named once, and all is well when the right one has come in its place.
#[tokio::test]
async fn a_wrong_peer_is_over_when_the_right_one_is_there() {
    let (lines, _guard) = logged();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (gone, asked) = (CancellationToken::new(), Arc::new(Semaphore::new(0)));
    let (stop, counted) = (gone.clone(), Arc::clone(&asked));
    let web = async move {
        loop {
            let accepted =
                tokio::select! { () = stop.cancelled() => return, accepted = listener.accept() => accepted };
            let (mut stream, _) = accepted.unwrap();
            counted.add_permits(1);
            let _greeting = stream.read(&mut [0; 64]).await;
            let _closed_already =
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    };
    #[expect(clippy::disallowed_methods, reason = "waited for below")]
    let web = tokio::spawn(web);
    let service = service(addr, CATALOG).await;
    lines.told("it speaks HTTP/1.1").await;
    // It is asked again and again, by no more than three connections each time.
    timeout(PATIENCE, asked.acquire_many(9)).await.expect("it is asked").unwrap().forget();
    let told = lines.of("is not the service that is meant");
    assert!(
        matches!(&told[..], [line] if line.contains("--user-url") && line.contains(CATALOG)),
        "{told:#?}"
    );
    assert_eq!(status(&service).await, ServingStatus::NotServing);

    gone.cancel();
    web.await.unwrap();
    let config = ServerConfig { listen: addr, ..ServerConfig::for_tests() };
    let _peer = Harness::start_with(config, Readiness::always(), |_| {}).await;
    serving(&service).await;
    lines.told("the peer is the service that is meant now").await;
}
