//! Servers that say that they do not serve, and servers that say nothing of it.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::*;
use crate::harness::Stage;

/// A catalog by tonic's own server, with or without health.
struct Foreign {
    addr: SocketAddr,
    stage: Stage,
    health: Option<HealthReporter>,
    stop: CancellationToken,
}

impl Foreign {
    async fn start(with_health: bool) -> Self {
        let (stage, stop) = (Stage::default(), CancellationToken::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (reporter, health) = tonic_health::server::health_reporter();
        let router = tonic::transport::Server::builder()
            .add_optional_service(with_health.then_some(health))
            .add_service(stage.catalog());
        let stopped = stop.clone().cancelled_owned();
        let serve = router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped);
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(serve);
        Self { addr, stage, health: with_health.then_some(reporter), stop }
    }

    async fn say(&self, status: ServingStatus) {
        self.health.as_ref().unwrap().set_service_status("", status).await;
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Claim: a server that says that it does not serve gets no calls 100 ms later, without a failed one, and gets them again
/// when it says that it does.
#[tokio::test]
async fn who_does_not_serve_leaves_at_once_and_comes_back() {
    let (first, second) = (Foreign::start(true).await, Foreign::start(true).await);
    let peer = catalog(&Names::of([first.addr, second.addr]));
    are_ready(&peer, 2).await;
    let work = async {
        first.say(ServingStatus::NotServing).await;
        let has_left = async || match peer.endpoints() {
            Endpoints { ready: 1, not_serving: 1, .. } => Ok(()),
            others => Err(others),
        };
        wait_until(Duration::from_millis(100), "the server to leave", has_left).await.unwrap();
        let before = first.stage.calls();
        until("others to be called", || second.stage.calls() > before + 200).await;
        // What was on its way when it left has arrived.
        assert!(first.stage.calls() <= before + CALLERS, "{} after {before}", first.stage.calls());
        let before = first.stage.calls();
        first.say(ServingStatus::Serving).await;
        until("the server to be called again", || first.stage.calls() > before).await;
    };
    under_load(&peer, work).await;
}

/// Claim: so does one of ours that was told to stop, which still answers what arrives.
#[tokio::test]
async fn who_is_about_to_stop_leaves_at_once() {
    let [stays, leaves] = servers().await;
    let peer = catalog(&Names::of([stays.server.addr, leaves.server.addr]));
    are_ready(&peer, 2).await;
    leaves.server.begin_stop();
    let has_left = async || match peer.endpoints() {
        Endpoints { ready: 1, not_serving: 1, .. } => Ok(()),
        others => Err(others),
    };
    wait_until(Duration::from_millis(100), "the server to leave", has_left).await.unwrap();
    let before = leaves.stage.calls();
    load(&peer, 50).await;
    assert_eq!(leaves.stage.calls(), before);
}

/// Claim: a question for any server is answered by one that says that it does not serve. Other calls are not.
#[tokio::test]
async fn who_does_not_serve_answers_a_question_for_any() {
    let server = Foreign::start(true).await;
    server.say(ServingStatus::NotServing).await;
    let peer = catalog(&Names::of([server.addr]));
    until("it to be known", || peer.endpoints().not_serving == 1).await;
    get_of_any(&peer).await.unwrap();
    let status = get_within(&peer, "any", Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(server.stage.calls(), 1);
}

/// Claim: a server that does not know the health protocol gets calls.
#[tokio::test]
async fn who_says_nothing_of_its_health_serves() {
    let (with, without) = (Foreign::start(true).await, Foreign::start(false).await);
    let peer = catalog(&Names::of([with.addr, without.addr]));
    are_ready(&peer, 2).await;
    load(&peer, 50).await;
    assert!(without.stage.calls() > 100, "{}", without.stage.calls());
}
