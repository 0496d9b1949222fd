//! Somebody else at one of the addresses.

use runtime::dependencies::Dependencies;
use testkit::stand_in;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

use super::*;
use crate::peers::logged;

/// Claim: a wrong server among right ones gets no calls and costs none, and is named once. The same for one that is no
/// gRPC server at all.
#[tokio::test]
async fn a_wrong_server_among_right_ones_gets_no_calls() {
    let (lines, _guard) = logged();
    let [right] = servers().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wrong = listener.local_addr().unwrap();
    let health = stand_in(&["user.v1.UserService"]).await;
    let serve = tonic::transport::Server::builder()
        .add_service(health)
        .serve_with_incoming(TcpListenerStream::new(listener));
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(serve);
    let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let web_addr = web.local_addr().unwrap();
    let answer = async move {
        while let Ok((mut stream, _)) = web.accept().await {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let _greeting = stream.read(&mut [0; 64]).await;
            let _closed_already = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    };
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(answer);

    let peer = catalog(&Names::of([right.server.addr, wrong, web_addr]));
    let identities = runtime::client::Identities::default();
    let stop = CancellationToken::new();
    let watch = identities.watch(vec![peer.clone()], Dependencies::default(), stop.clone());
    let work = async {
        let both = async || match peer.endpoints() {
            Endpoints { ready: 1, failed: 2, .. } => Ok(()),
            others => Err(others),
        };
        wait_until(PATIENCE, "all to be known", both).await.unwrap();
        load(&peer, 50).await;
        lines.told("it serves user.v1.UserService").await;
        lines.told("it speaks HTTP/1.1").await;
        stop.cancel();
    };
    tokio::join!(watch, work);
    let told = lines.of("one address of a peer leads to something else");
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(right.stage.calls(), CALLERS * 50);
}
