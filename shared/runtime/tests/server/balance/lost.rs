//! Servers that are gone without a word, and calls that nobody can take.

use std::time::Instant;

use api::order::v1::WatchTransferRequest;
use api::order::v1::transfer_service_client::TransferServiceClient;
use runtime::client::{CALL_TIMEOUT, Outcome, RetryPolicy, classify, retry_unavailable};
use runtime::config::ServerConfig;
use runtime::health::Readiness;
use testkit::proxy::{Protocol, Proxy};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::*;

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn did_not_happen(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(matches!(classify(status), Outcome::DidNotHappen { retryable: true, .. }), "{status:?}");
}

/// Claim: a server that is killed costs no call that may be repeated, and none at all once its connection is gone.
#[tokio::test]
async fn who_is_killed_gets_no_calls_while_another_is_ready() {
    let [lives, dies] = servers().await;
    let proxy = Proxy::start(dies.server.addr, Protocol::Opaque).await.unwrap();
    let through = SocketAddr::from(([127, 0, 0, 1], proxy.port()));
    let peer = catalog(&Names::of([lives.server.addr, through]));
    are_ready(&peer, 2).await;
    let policy = RetryPolicy::default();
    let over = CancellationToken::new();
    let caller = async || {
        while !over.is_cancelled() {
            retry_unavailable(&policy, || get(&peer, "any")).await.unwrap();
        }
    };
    let work = async {
        until("both to be called", || lives.stage.calls() > 50 && dies.stage.calls() > 50).await;
        proxy.refuse();
        proxy.reset();
        until("it to be gone", || peer.endpoints().failed == 1).await;
        over.cancel();
    };
    tokio::join!(work, join_all((0..CALLERS).map(|_| caller())));
    load(&peer, 50).await;

    proxy.heal();
    are_ready(&peer, 2).await;
    let before = dies.stage.calls();
    load(&peer, 50).await;
    assert!(dies.stage.calls() > before, "it is called again");
}

/// What the channel is written for: tonic's own balancing picks the one that is dead.
#[tokio::test]
async fn tonics_own_balancing_loses_calls_to_a_dead_server() {
    let [lives] = servers().await;
    let addresses = [lives.server.addr, nobody().await];
    let endpoints = addresses.map(|address| Endpoint::from_shared(format!("http://{address}")).unwrap());
    let channel = Channel::balance_list(endpoints.into_iter());
    let mut failures = 0;
    for _ in 0..200 {
        let mut request = Request::new(GetProductRequest { product_id: "any".to_owned() });
        request.metadata_mut().insert("authorization", lives.token.parse().unwrap());
        failures +=
            usize::from(CatalogServiceClient::new(channel.clone()).get_product(request).await.is_err());
    }
    assert!(failures > 0, "tonic's own balancing is good enough");

    let peer = catalog(&Names::of(addresses));
    load(&peer, 25).await;
}

/// Claim: with no server ready a call waits for the time that it has, then says that it did not happen.
#[tokio::test]
async fn a_call_that_nobody_can_take_waits_and_did_not_happen() {
    let peer = catalog(&Names::of([nobody().await]));
    let begun = Instant::now();
    let within = Duration::from_millis(300);
    let status = get_within(&peer, "any", within).await.unwrap_err();
    assert!(begun.elapsed() >= within && begun.elapsed() < 10 * within, "{:?}", begun.elapsed());
    did_not_happen(&status);
    assert!(status.message().contains("Connection refused"), "{}", status.message());
}

/// Claim: a question for any server does not wait for one to come up.
#[tokio::test]
async fn a_question_for_any_that_nobody_can_take_fails_at_once() {
    let peer = catalog(&Names::of([nobody().await]));
    let status = timeout(PATIENCE / 2, get_of_any(&peer)).await.expect("it waits").unwrap_err();
    did_not_happen(&status);
    assert!(status.message().contains("Connection refused"), "{}", status.message());
}

/// Claim: it gets through when a server comes up within that time, and the server hears how much of it is left.
#[tokio::test]
async fn a_call_that_waits_gets_through_when_a_server_comes_up() {
    let addr = nobody().await;
    let peer = catalog(&Names::of([addr]));
    let begun = Instant::now();
    let server = async {
        until("nobody to be there", || peer.endpoints().failed == 1).await;
        let config = ServerConfig { listen: addr, ..ServerConfig::for_tests() };
        Harness::start_with(config, Readiness::always(), |_| {}).await
    };
    let within = Duration::from_secs(4);
    let (answer, server) = tokio::join!(get_within(&peer, "any", within), server);
    answer.unwrap();
    let left = server.seen().remaining.unwrap();
    assert!(left <= within && left + begun.elapsed() >= within, "{left:?}, and {:?} passed", begun.elapsed());
    assert!(within - left >= Duration::from_millis(1), "{left:?}");
}

/// Claim: a stream without a deadline does not wait for ever.
#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_a_server_no_longer_than_a_call() {
    let names = Names::of([]);
    names.fail();
    let peer = catalog(&names);
    let begun = tokio::time::Instant::now();
    let request = WatchTransferRequest::default();
    let status = TransferServiceClient::new(peer.channel()).watch_transfer(request).await.unwrap_err();
    did_not_happen(&status);
    let waited = begun.elapsed();
    assert!(waited >= CALL_TIMEOUT && waited < CALL_TIMEOUT + Duration::from_secs(1), "{waited:?}");
}

/// Claim: a call whose connection is lost while it is in progress may have happened.
#[tokio::test]
async fn a_call_in_progress_that_is_lost_may_have_happened() {
    let [server] = servers().await;
    let proxy = Proxy::start(server.server.addr, Protocol::Opaque).await.unwrap();
    let peer = catalog(&Names::of([SocketAddr::from(([127, 0, 0, 1], proxy.port()))]));
    let work = async {
        until("the call to be in progress", || server.stage.waiting.available_permits() > 0).await;
        proxy.reset();
    };
    let (answer, ()) = tokio::join!(get(&peer, "wait"), work);
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(classify(&status), Outcome::Unknown { retry_after: None }, "{status:?}");
    assert_eq!(server.stage.calls(), 1, "it is not sent again");
}

/// Claim: a server that falls silent without closing its connection is given up.
#[tokio::test]
async fn who_falls_silent_is_given_up() {
    let [lives, silent] = servers().await;
    let proxy = Proxy::start(silent.server.addr, Protocol::Opaque).await.unwrap();
    let names = Names::of([lives.server.addr, SocketAddr::from(([127, 0, 0, 1], proxy.port()))]);
    let quick = PeerOptions {
        keepalive_interval: Duration::from_millis(100),
        keepalive_timeout: Duration::from_millis(100),
        ..options(&names)
    };
    let peer = catalog_with(quick);
    are_ready(&peer, 2).await;
    proxy.silence(testkit::proxy::Direction::ToClient);
    are_ready(&peer, 1).await;
    load(&peer, 20).await;
}
