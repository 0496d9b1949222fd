//! Whether each peer is the service that its address is meant for.
//!
//! A peer that is away comes back, and calls say UNAVAILABLE meanwhile. One that is there and is something else never
//! answers rightly, whatever is waited for: somebody has written a wrong address. So each process asks its peers who they
//! are, once a second until it is known and twice a minute afterwards. A wrong one is named in the log, once, and a
//! process that has never seen the right one does not say that it serves: whoever rolls the mistake out is stopped there.
//! Once a peer was right that changes nothing more, because calls that do not need it can still be served.

use std::sync::Arc;
use std::time::Duration;

use api::codec::Codec;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::protocol::foreign;
use super::{Meant, Peer};

const ASK_WITHIN: Duration = Duration::from_secs(1);
const UNKNOWN_EVERY: Duration = Duration::from_secs(1);
const KNOWN_EVERY: Duration = Duration::from_secs(30);
/// How long readiness waits for the first answers of peers: less than its probe may take.
const FIRST_ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// Packages that say nothing of who serves them.
const OF_EVERY_SERVICE: [&str; 2] = ["event.", "doctor."];

/// What the peers of this process are. Cheap to clone: one for all cores.
#[derive(Debug, Clone)]
pub struct Identities(Arc<watch::Sender<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Every peer was asked once.
    is_complete: bool,
    /// The peers that are wrong and never were right, each with what it is.
    never_right: Vec<(&'static str, String)>,
}

/// What an answer says of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// It is the service that is meant.
    Right,
    /// It is something else.
    Wrong(String),
    /// It is away, or does not say.
    Unknown,
}

impl Default for Identities {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Known::default())))
    }
}

impl Identities {
    /// Asks these peers who they are, and says so in the log, until `stop`. Run it once in a process, with all of its
    /// peers.
    pub async fn watch(self, peers: Vec<Peer>, stop: CancellationToken) {
        let first: Vec<Identity> = tokio::select! {
            () = stop.cancelled() => return,
            identities = join_all(peers.iter().map(ask)) => identities,
        };
        let watches = peers.iter().zip(first).map(|(peer, first)| {
            let mut told = Told::default();
            self.learn(peer.meant(), &mut told, &first);
            self.watch_one(peer, told, first)
        });
        let watches: Vec<_> = watches.collect();
        self.0.send_modify(|known| known.is_complete = true);
        tokio::select! {
            () = stop.cancelled() => {}
            _ = join_all(watches) => {}
        }
    }

    /// Why the process cannot serve: a peer's address is that of something else. Waits a moment for the first answers.
    pub(crate) async fn reason(&self) -> Option<String> {
        let mut known = self.0.subscribe();
        // Peers that do not answer in time are away, which is no reason.
        drop(timeout(FIRST_ANSWERS_WITHIN, known.wait_for(|known| known.is_complete)).await);
        let known = known.borrow();
        let (setting, what) = known.never_right.first()?;
        Some(format!("{setting}: {what}"))
    }

    async fn watch_one(&self, peer: &Peer, mut told: Told, first: Identity) {
        let mut identity = first;
        loop {
            let is_right = identity == Identity::Right;
            tokio::time::sleep(if is_right { KNOWN_EVERY } else { UNKNOWN_EVERY }).await;
            identity = ask(peer).await;
            self.learn(peer.meant(), &mut told, &identity);
        }
    }

    /// Says what is new. A peer that is away stays what it was.
    fn learn(&self, meant: &Meant, told: &mut Told, identity: &Identity) {
        let (setting, url, service) = (meant.setting, &meant.url, meant.service);
        match identity {
            Identity::Unknown => {}
            Identity::Right => {
                if told.wrong.take().is_some() {
                    tracing::info!(setting, url, service, "the peer is the service that is meant now");
                }
                told.was_right = true;
                self.0.send_modify(|known| known.never_right.retain(|(other, _)| *other != setting));
            }
            Identity::Wrong(what) => {
                if told.wrong.as_ref() != Some(what) {
                    tracing::warn!(
                        setting,
                        url,
                        service,
                        found = what,
                        "a peer is not the service that is meant"
                    );
                    told.wrong = Some(what.clone());
                }
                if !told.was_right {
                    self.0.send_modify(|known| {
                        known.never_right.retain(|(other, _)| *other != setting);
                        known.never_right.push((setting, format!("{url} is not {service}: {what}")));
                    });
                }
            }
        }
    }
}

/// What the log says of a peer.
#[derive(Debug, Default)]
struct Told {
    wrong: Option<String>,
    was_right: bool,
}

/// Asks a peer who it is. It hears no token of ours, since it may be anybody.
pub(crate) async fn ask(peer: &Peer) -> Identity {
    let meant = peer.meant();
    match health(peer, meant.service).await {
        Ok(()) => Identity::Right,
        // Whoever serves it without saying so in its health knows at least its methods.
        Err(status) if is_unknown(&status) => match call(peer, meant.service).await {
            Err(status) if status.code() == Code::Unimplemented => Identity::Wrong(served(peer).await),
            _ => Identity::Right,
        },
        // Whoever has no right certificate is as good as away: it may be in the middle of being renewed.
        Err(_) if meant.is_secure => Identity::Unknown,
        Err(_) => match foreign(&meant.host, meant.port).await {
            Some(foreign) => Identity::Wrong(foreign.to_string()),
            None => Identity::Unknown,
        },
    }
}

fn is_unknown(status: &Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::Unimplemented)
}

async fn health(peer: &Peer, service: &str) -> Result<(), Status> {
    let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
    request.set_timeout(ASK_WITHIN);
    let mut client = HealthClient::new(peer.anonymous());
    within(client.check(request)).await.map(drop)
}

/// Calls a method of the service, with an empty message and without a token. Whatever the answer, nothing comes of it.
async fn call(peer: &Peer, service: &str) -> Result<(), Status> {
    let method = api::descriptor::service(service).and_then(|service| service.methods().next());
    let path = method.map(|method| format!("/{service}/{}", method.name())).unwrap_or_default();
    let path = path.parse().map_err(|_| Status::internal("not a service of ours"))?;
    let mut client = Grpc::new(peer.anonymous());
    let answer = async {
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        client.unary(Request::new(()), path, Codec::<(), ()>::default()).await
    };
    within(answer).await.map(drop)
}

/// Which services of ours the peer serves instead.
async fn served(peer: &Peer) -> String {
    let services = api::descriptor::pool().services();
    let is_own = |name: &str| !OF_EVERY_SERVICE.iter().any(|package| name.starts_with(package));
    for service in services.filter(|service| is_own(service.full_name())) {
        match health(peer, service.full_name()).await {
            Ok(()) => return format!("it serves {}", service.full_name()),
            Err(status) if is_unknown(&status) => {}
            Err(_) => break,
        }
    }
    "it serves gRPC, and no service of this system".to_owned()
}

async fn within<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    timeout(ASK_WITHIN, answer).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
}
