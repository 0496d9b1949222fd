//! Certificates and authorities are replaced while calls are made.

use std::sync::Arc;
use std::time::Duration;

use runtime::client::Peer;
use runtime::config::ServerConfig;
use runtime::tls::Tls;
use testkit::{Authority, TlsFiles};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::handshakes::Handshakes;
use super::world::{ORDER, Server, USER, World, call, config};
use crate::harness::PATIENCE;

/// Connections that are made in each step.
const CONNECTIONS: usize = 3;

/// Two services with files of their own, whose connections are soon replaced, so that each step is seen by new ones.
struct Pair {
    handshakes: Handshakes,
    server_files: TlsFiles,
    client_files: TlsFiles,
    server_tls: Tls,
    client_tls: Tls,
    server: Server,
    peer: Peer,
}

impl Pair {
    async fn start(world: &World, poll: Duration) -> Self {
        let [server_files, client_files] = [ORDER, USER].map(|id| world.files(&world.subject(id)));
        let load = |files| Tls::load_with(&config(files), Arc::clone(&world.clock) as _, poll).unwrap();
        let (server_tls, client_tls) = (load(&server_files), load(&client_files));
        let young =
            ServerConfig { connection_age_max: Duration::from_millis(20), ..ServerConfig::for_tests() };
        let server = Server::start(young, server_tls.clone()).await;
        let peer = server.peer(&client_tls);
        let handshakes = Handshakes::start_with_a_line_a_cause();
        Self { handshakes, server_files, client_files, server_tls, client_tls, server, peer }
    }

    /// Makes calls, while both ends look at their files, until `change` is over.
    async fn calls_during(&self, change: impl Future<Output = ()>) -> Result<usize, tonic::Status> {
        let stop = CancellationToken::new();
        let calls = async {
            let mut count = 0;
            while !stop.is_cancelled() {
                call(&self.peer).await?;
                count += 1;
            }
            Ok(count)
        };
        let change = async {
            change.await;
            stop.cancel();
        };
        let watch = self.client_tls.clone().watch(stop.clone());
        let (calls, (), ()) = timeout(PATIENCE, async { tokio::join!(calls, change, watch) }).await.unwrap();
        calls
    }

    /// Waits until some more connections have been made.
    async fn connected_again(&self) {
        self.handshakes.ended("server", "ok", self.handshakes.count("server", "ok") + CONNECTIONS).await;
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let so = async {
            while !is_so(self) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, so).await.unwrap_or_else(|_| panic!("{what}"));
    }
}

/// Claim: certificates are replaced without a failed call, and the new ones are in use.
#[tokio::test]
async fn new_certificates_cost_no_call() {
    let world = World::new();
    let pair = Pair::start(&world, super::world::POLL).await;
    let renewals = async {
        for hours in 2..6 {
            let not_after = world.now() + time::Duration::hours(hours);
            for (id, files) in [(ORDER, &pair.server_files), (USER, &pair.client_files)] {
                let mut subject = world.subject(id);
                subject.valid.1 = not_after;
                files.replace(&world.authority.issue(&subject).unwrap()).unwrap();
            }
            let is_new = |tls: &Tls| tls.not_after() == Some(not_after);
            pair.until("both are in use", |pair| is_new(&pair.server_tls) && is_new(&pair.client_tls)).await;
            pair.connected_again().await;
        }
    };
    let calls = pair.calls_during(renewals).await.unwrap();
    assert!(calls > 10, "{calls}");
}

/// An authority is replaced in three steps: both are trusted, certificates are of the new one, the old one is not trusted
/// any more.
async fn replace_authority(world: &World, pair: &Pair, new: &Authority, step: impl AsyncFn()) {
    let both = format!("{}{}", world.authority.pem(), new.pem());
    for files in [&pair.server_files, &pair.client_files] {
        files.replace_ca(&both).unwrap();
    }
    step().await;
    for (id, files) in [(ORDER, &pair.server_files), (USER, &pair.client_files)] {
        let mut subject = world.subject(id);
        subject.valid.1 += time::Duration::HOUR;
        files.replace(&new.issue(&subject).unwrap()).unwrap();
    }
    step().await;
    for files in [&pair.server_files, &pair.client_files] {
        files.replace_ca(&new.pem()).unwrap();
    }
    step().await;
}

/// Claim: the authority is replaced without a failed call, and then certificates of the old one are refused.
#[tokio::test]
async fn a_new_authority_costs_no_call() {
    let world = World::new();
    let pair = Pair::start(&world, super::world::POLL).await;
    let new = Authority::new("the next authority").unwrap();
    // Each end says when it has new files; there are two.
    let steps = std::cell::Cell::new(0);
    let replaced = replace_authority(&world, &pair, &new, async || {
        steps.set(steps.get() + 1);
        pair.until("both have read them", |_| {
            pair.handshakes.lines_with("new TLS files are in use").len() >= 2 * steps.get()
        })
        .await;
        pair.connected_again().await;
    });
    let calls = pair.calls_during(replaced).await.unwrap();
    assert!(calls > 10, "{calls}");
    let old = pair.server.peer(&world.tls(USER));
    assert_eq!(call(&old).await.unwrap_err().code(), Code::Unavailable);
}

/// With files that are read at the start only, the same steps end all calls.
#[tokio::test]
async fn without_a_look_at_the_files_a_new_authority_ends_all_calls() {
    let world = World::new();
    let pair = Pair::start(&world, Duration::from_secs(3600)).await;
    let new = Authority::new("the next authority").unwrap();
    replace_authority(&world, &pair, &new, async || ()).await;
    // The other end has been started again, as it may be at any time.
    let client = world.load(&config(&pair.client_files));
    assert_eq!(call(&pair.server.peer(&client)).await.unwrap_err().code(), Code::Unavailable);
}

/// Claim: files that cannot be used leave those before them in use and are told of once a cause; when they are right again,
/// they are used.
#[tokio::test]
async fn files_that_cannot_be_used_leave_the_old_ones_in_use() {
    let world = World::new();
    let pair = Pair::start(&world, super::world::POLL).await;
    let before = pair.server_tls.not_after();
    let other = world.authority.issue(&world.subject(ORDER)).unwrap();
    let mut expired = world.subject(ORDER);
    expired.valid.1 = world.now();
    let expired = world.authority.issue(&expired).unwrap();
    type Spoil<'a> = (&'a str, Box<dyn Fn(&TlsFiles) + 'a>);
    let spoils: [Spoil<'_>; 4] = [
        ("it is not the key of", Box::new(|files| std::fs::write(&files.key, &other.key).unwrap())),
        ("has expired", Box::new(|files| files.replace(&expired).unwrap())),
        ("cannot read", Box::new(|files| std::fs::remove_file(&files.certificate).unwrap())),
        ("--tls-ca", Box::new(|files| files.replace_ca("no authority").unwrap())),
    ];
    let refusals = |what: &str| {
        let lines = pair.handshakes.lines_with("stay in use").into_iter();
        lines.filter(|line| line.contains(what)).collect::<Vec<_>>()
    };
    for (what, spoil) in spoils {
        let used = pair.handshakes.lines_with("new TLS files are in use").len();
        spoil(&pair.server_files);
        let told = async {
            pair.until(what, |_| !refusals(what).is_empty()).await;
            // It is looked at again and again.
            pair.connected_again().await;
        };
        assert!(pair.calls_during(told).await.unwrap() > 1, "{what}");
        assert_eq!(pair.server_tls.not_after(), before, "{what}");
        let lines = refusals(what);
        assert!(matches!(&lines[..], [line] if line.contains("WARN")), "{lines:#?}");
        pair.server_files.replace_ca(&world.authority.pem()).unwrap();
        pair.server_files.replace(&world.authority.issue(&world.subject(ORDER)).unwrap()).unwrap();
        pair.until("the right ones are in use", |pair| {
            pair.handshakes.lines_with("new TLS files are in use").len() > used
        })
        .await;
    }
    call(&pair.peer).await.unwrap();
}
