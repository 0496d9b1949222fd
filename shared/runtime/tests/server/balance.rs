//! A peer that is several servers, which come and go.

mod goaway;
mod health;
mod identity;
mod lost;
mod names;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::order::v1::catalog_service_client::CatalogServiceClient;
use api::order::v1::{GetProductRequest, Product};
use auth::token::AccessToken;
use futures_util::future::{BoxFuture, join_all, ready};
use runtime::client::{AnyServer, Endpoints, Peer, PeerOptions, Resolve};
use runtime::tls::Tls;
use testkit::wait_until;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::harness::{Harness, PATIENCE};

const CATALOG: &str = "order.v1.CatalogService";

/// Loads are as many calls at a time.
const CALLERS: usize = 8;

/// The addresses of a host, as a test wants them.
#[derive(Clone)]
struct Names(Arc<Answers>);

struct Answers {
    now: Mutex<Result<Vec<SocketAddr>, io::ErrorKind>>,
    asked: AtomicUsize,
}

impl Names {
    fn of(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let now = Mutex::new(Ok(addresses.into_iter().collect()));
        Self(Arc::new(Answers { now, asked: AtomicUsize::new(0) }))
    }

    fn are(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        *self.0.now.lock().unwrap() = Ok(addresses.into_iter().collect());
    }

    fn fail(&self) {
        *self.0.now.lock().unwrap() = Err(io::ErrorKind::TimedOut);
    }

    /// Waits until what they are now was heard.
    async fn heard(&self) {
        // The first of two questions may have been answered before.
        let enough = self.0.asked.load(Ordering::Relaxed) + 2;
        until("the addresses to be asked for", || self.0.asked.load(Ordering::Relaxed) >= enough).await;
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(ready(self.0.now.lock().unwrap().clone().map_err(io::Error::from)))
    }
}

/// Quick, so that tests are.
fn options(names: &Names) -> PeerOptions {
    PeerOptions {
        resolver: Arc::new(names.clone()),
        resolve_every: Duration::from_millis(50),
        resolve_pause: Duration::from_millis(10),
        backoff_first: Duration::from_millis(10),
        backoff_cap: Duration::from_millis(50),
        ..PeerOptions::default()
    }
}

/// A catalog that is all servers with these addresses.
fn catalog(names: &Names) -> Peer {
    catalog_with(options(names))
}

fn catalog_with(options: PeerOptions) -> Peer {
    // A person's token, since a catalog is for people.
    let token = AccessToken::generate(0).expose().into();
    Peer::with_options(
        "--order-url",
        CATALOG,
        "http://catalog.test:50052",
        Some(&token),
        &Tls::off(),
        options,
    )
    .unwrap()
}

async fn get(peer: &Peer, product_id: &str) -> Result<Product, Status> {
    get_within(peer, product_id, PATIENCE).await
}

async fn get_within(peer: &Peer, product_id: &str, within: Duration) -> Result<Product, Status> {
    get_by(peer, product_id, |request| request.set_timeout(within)).await
}

/// Of any server, even one that says that it does not serve.
async fn get_of_any(peer: &Peer) -> Result<Product, Status> {
    let of_any = |request: &mut Request<GetProductRequest>| {
        request.set_timeout(PATIENCE);
        request.extensions_mut().insert(AnyServer);
    };
    get_by(peer, "any", of_any).await
}

async fn get_by(
    peer: &Peer,
    product_id: &str,
    how: impl FnOnce(&mut Request<GetProductRequest>),
) -> Result<Product, Status> {
    let mut request = Request::new(GetProductRequest { product_id: product_id.to_owned() });
    how(&mut request);
    let answer = CatalogServiceClient::new(peer.channel()).get_product(request).await?;
    Ok(answer.into_inner().product.unwrap())
}

/// Several callers at once, each with so many calls one after the other. The first failure fails the test.
async fn load(peer: &Peer, calls: usize) {
    let caller = async || {
        for _ in 0..calls {
            get(peer, "any").await.unwrap();
        }
    };
    join_all((0..CALLERS).map(|_| caller())).await;
}

/// Calls all the time while something is done, and fails with the first call that fails.
async fn under_load<T>(peer: &Peer, work: impl Future<Output = T>) -> T {
    let over = CancellationToken::new();
    let caller = async || {
        while !over.is_cancelled() {
            get(peer, "any").await.unwrap();
        }
    };
    let work = async {
        let done = work.await;
        over.cancel();
        done
    };
    let (done, _) = tokio::join!(work, join_all((0..CALLERS).map(|_| caller())));
    done
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_until(PATIENCE, what, async || if is_so() { Ok(()) } else { Err("not yet") }).await.unwrap();
}

async fn are_ready(peer: &Peer, count: usize) {
    wait_until(PATIENCE, "servers to be ready", async || match peer.endpoints() {
        Endpoints { ready, .. } if ready == count => Ok(()),
        others => Err(others),
    })
    .await
    .unwrap();
}

async fn servers<const N: usize>() -> [Harness; N] {
    let servers: Vec<Harness> = join_all((0..N).map(|_| Harness::start())).await;
    servers.try_into().unwrap_or_else(|_| panic!("as many as were started"))
}

/// Claim: all servers of a peer get calls, each within a fifth of its share.
#[tokio::test]
async fn calls_are_spread_over_all_servers() {
    let servers: [Harness; 4] = servers().await;
    let peer = catalog(&Names::of(servers.iter().map(|server| server.server.addr)));
    are_ready(&peer, 4).await;
    load(&peer, 500).await;
    let counts = servers.each_ref().map(|server| server.stage.calls());
    assert_eq!(counts.iter().sum::<usize>(), CALLERS * 500);
    assert!(counts.iter().all(|count| (800..=1200).contains(count)), "{counts:?}");
}

/// Claim: a server that is slow to answer gets less, because of two the less busy one is taken.
#[tokio::test]
async fn a_server_that_hangs_gets_few_calls() {
    let [quick, stuck] = servers().await;
    let peer = catalog(&Names::of([quick.server.addr, stuck.server.addr]));
    are_ready(&peer, 2).await;
    // Each of both hangs in some of these. Those of the quick one are let go.
    let hang = join_all((0..20).map(|_| get(&peer, "wait")));
    let work = async {
        until("all to hang", || quick.stage.calls() + stuck.stage.calls() == 20).await;
        quick.stage.go_on.add_permits(quick.stage.calls());
        let before = stuck.stage.calls();
        until("the quick one to be free", || quick.stage.waiting.available_permits() > 0).await;
        for _ in 0..100 {
            get(&peer, "any").await.unwrap();
        }
        assert!(stuck.stage.calls() - before <= 5, "{} of 100", stuck.stage.calls() - before);
        stuck.stage.go_on.add_permits(before);
    };
    let (answers, ()) = tokio::join!(hang, work);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}
