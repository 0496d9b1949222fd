//! What the server bears, and what it does with more.

use std::convert::Infallible;
use std::time::Duration;

use api::order::v1::catalog_service_client::CatalogServiceClient;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{Empty, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::client::{RetryPolicy, retry_unavailable};
use runtime::config::ServerConfig;
use runtime::health::Readiness;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{GET, Harness, PATIENCE, SERVICE_TOKEN, connect, refusal, take};

async fn start(change: impl FnOnce(&mut ServerConfig)) -> Harness {
    let mut config = ServerConfig::for_tests();
    change(&mut config);
    Harness::start_with(config, Readiness::always(), |_| {}).await
}

/// Whether the server closes the connection.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn calls_over_the_limit_are_refused_at_once_and_health_is_not() {
    let harness = start(|config| config.calls_max = 1).await;
    let mut client = CatalogServiceClient::new(harness.channel.clone());
    let first = async { client.get_product(harness.request("wait", &[])).await };
    let second = async {
        take(&harness.stage.waiting).await;
        let status = harness.get("any", &[]).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
        HealthClient::new(harness.channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
        harness.stage.go_on.add_permits(1);
    };
    let (first, ()) = tokio::join!(first, second);
    first.unwrap();
    harness.get("any", &[]).await.unwrap();
}

#[tokio::test]
async fn one_source_has_its_share_of_the_calls_and_services_are_not_kept_out_by_it() {
    let harness = start(|config| config.calls_per_peer_max = 1).await;
    let mut client = CatalogServiceClient::new(harness.channel.clone());
    let first = async { client.get_product(harness.request("wait", &[])).await };
    let second = async {
        take(&harness.stage.waiting).await;
        // Another connection is no other source.
        let other = CatalogServiceClient::new(connect(&harness.server).await)
            .get_product(harness.request("any", &[]))
            .await
            .unwrap_err();
        assert_eq!(refusal(&other), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
        let mut request = harness.request("any", &[]);
        let token = format!("Bearer {SERVICE_TOKEN}").parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        let service = CatalogServiceClient::new(harness.channel.clone()).get_product(request).await;
        // It gets as far as its rights.
        let service = refusal(&service.unwrap_err());
        assert_eq!(service, (Code::PermissionDenied, "CALLER_NOT_ALLOWED".to_owned()));
        harness.stage.go_on.add_permits(1);
    };
    let (first, ()) = tokio::join!(first, second);
    first.unwrap();
    harness.get("any", &[]).await.unwrap();
}

#[tokio::test]
async fn streams_over_the_limit_are_refused_as_long_as_the_others_are_open() {
    let changes: [fn(&mut ServerConfig); 2] =
        [|config| config.streams_max = 1, |config| config.streams_per_peer_max = 1];
    for change in changes {
        let harness = start(change).await;
        let watch = async || {
            let request = HealthCheckRequest::default();
            HealthClient::new(harness.channel.clone()).watch(request).await
        };
        let mut first = watch().await.unwrap().into_inner();
        first.message().await.unwrap().unwrap();
        let status = watch().await.unwrap_err();
        assert_eq!(refusal(&status), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
        // Streams and calls do not take each other's places.
        harness.get("any", &[]).await.unwrap();
        drop(first);
        let again = timeout(PATIENCE, async { while watch().await.is_err() {} });
        again.await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_over_the_limit_is_closed() {
    let harness = start(|config| config.connections_max = 2).await;
    let _second = TcpStream::connect(harness.server.addr).await.unwrap();
    assert!(is_closed(TcpStream::connect(harness.server.addr).await.unwrap()).await);
    harness.get("any", &[]).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_is_closed() {
    let harness = start(|config| config.first_request_timeout = Duration::from_millis(50)).await;
    let silent = TcpStream::connect(harness.server.addr).await.unwrap();
    let mut greeted = TcpStream::connect(harness.server.addr).await.unwrap();
    greeted.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert!(is_closed(silent).await && is_closed(greeted).await);
}

/// Both have asked for something once; then one goes on and the other does not.
#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let harness = start(|config| {
        config.first_request_timeout = Duration::from_millis(500);
        config.idle_timeout = Duration::from_millis(20);
    });
    let harness = harness.await;
    let mut client = CatalogServiceClient::new(harness.channel.clone());
    let busy = async { client.get_product(harness.request("wait", &[])).await };
    let idle = async {
        take(&harness.stage.waiting).await;
        let stream = TcpStream::connect(harness.server.addr).await.unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let request = http::Request::get(harness.server.url()).body(Empty::<Bytes>::new()).unwrap();
        let asked = async {
            assert_eq!(sender.send_request(request).await.unwrap().status(), 405);
            sender
        };
        let (_sender, closed) = tokio::join!(asked, timeout(PATIENCE, connection));
        closed.unwrap().unwrap();
        harness.stage.go_on.add_permits(1);
    };
    let (busy, ()) = tokio::join!(busy, idle);
    busy.unwrap();
}

#[tokio::test]
async fn an_old_connection_is_replaced_without_a_failed_call() {
    let harness = start(|config| config.connection_age_max = Duration::from_millis(30)).await;
    let end = tokio::time::Instant::now() + Duration::from_millis(300);
    let policy = RetryPolicy::default();
    while tokio::time::Instant::now() < end {
        // A call that was still waiting for the old connection was never sent.
        retry_unavailable(&policy, || harness.get("any", &[])).await.unwrap();
    }
}

#[tokio::test]
async fn http_1_and_other_contents_reach_no_handler() {
    let harness = Harness::start().await;
    let mut stream = TcpStream::connect(harness.server.addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(is_closed(stream).await);
    for content in ["text/plain", "application/json", "application/grpc-web"] {
        let response = harness.post(GET, &[("content-type", content)], Empty::new()).await;
        assert_eq!(response.status(), 415, "{content}");
    }
    assert!(harness.stage.seen.lock().unwrap().is_none());
}

#[tokio::test]
async fn a_slow_body_meets_the_deadline() {
    let harness = start(|config| config.request_deadline = Duration::from_millis(100)).await;
    let endless = tokio_stream::pending::<Result<Frame<Bytes>, Infallible>>();
    let response = harness.post(GET, &[], StreamBody::new(endless)).await;
    let status = tonic::Status::from_header_map(response.headers()).unwrap();
    assert_eq!(refusal(&status), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
}
