//! Connections end before a certificate of theirs does.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::config::ServerConfig;
use time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::world::{ORDER, Server, USER, World, config};
use crate::harness::{GET, PATIENCE};

/// Claim: a client is asked to leave before its certificate ends, and before the server's does, although its connection is
/// young; a call that is under way then ends well.
#[tokio::test]
async fn a_connection_ends_before_either_certificate_does() {
    for (server_seconds, client_seconds) in [(2, 3600), (3600, 2)] {
        let world = World::new();
        let of = |id: &str, seconds: i64| {
            let mut subject = world.subject(id);
            subject.valid.1 = world.now() + Duration::seconds(seconds);
            world.load(&config(&world.files(&subject)))
        };
        let server = Server::start(ServerConfig::for_tests(), of(ORDER, server_seconds)).await;
        let stream = TcpStream::connect(server.running.addr).await.unwrap();
        let stream = of(USER, client_seconds).connect(stream, "localhost", "order-service").await.unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let request = http::Request::post(format!("{}{GET}", server.running.url()))
            .header("content-type", "application/grpc")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let call = async {
            let answered = sender.send_request(request).await.unwrap();
            assert_eq!(answered.status(), 200);
            sender
        };
        let both = async { tokio::join!(call, connection) };
        let (sender, ended) = timeout(PATIENCE, both).await.expect("the connection ends");
        ended.expect("it is asked to leave and is not cut off");
        assert!(sender.is_closed());
    }
}
