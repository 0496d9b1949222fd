//! Whether each peer is the service that its address is meant for.
//!
//! A peer that is away comes back, and calls say UNAVAILABLE meanwhile. One that is there and is something else never
//! answers rightly, whatever is waited for: somebody has written a wrong address. So each server is asked who it is before
//! it gets calls, on each connection to it. A wrong one is named in the log, once, and a process that has never seen the
//! right one does not say that it serves: whoever rolls the mistake out is stopped there. Once a peer was right that
//! changes nothing more, because calls that do not need it can still be served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::identity::Identity;
use super::metrics::measure;
use super::servers::Endpoints;
use super::{Meant, Peer};
use crate::dependencies::Dependencies;

const ASK_WITHIN: Duration = Duration::from_secs(1);
/// How long readiness waits for the first answers of peers: less than its probe may take.
const FIRST_ANSWERS_WITHIN: Duration = Duration::from_millis(500);

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

impl Default for Identities {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Known::default())))
    }
}

impl Identities {
    /// Watches who these peers are and whether they can be called, and says so in the log, to `dependencies` and in
    /// metrics, until `stop`. Run it once in a process, with all of its peers.
    pub async fn watch(self, peers: Vec<Peer>, dependencies: Dependencies, stop: CancellationToken) {
        for peer in &peers {
            measure(&peer.meant().name(), &peer.channel.watched());
        }
        // Whatever changes while the first answers are waited for is heard of afterwards.
        let changes: Vec<_> = peers.iter().map(|peer| peer.channel.servers().changes()).collect();
        let first: Vec<Identity> = tokio::select! {
            () = stop.cancelled() => return,
            identities = join_all(peers.iter().map(ask)) => identities,
        };
        let watches = peers.iter().zip(first).zip(changes).map(|((peer, first), changes)| {
            let mut told = Told::default();
            self.learn(peer, &mut told, &first);
            report(peer, &dependencies);
            self.watch_one(peer, told, changes, &dependencies)
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

    async fn watch_one(
        &self,
        peer: &Peer,
        mut told: Told,
        mut changes: watch::Receiver<()>,
        dependencies: &Dependencies,
    ) {
        while changes.changed().await.is_ok() {
            // While it connects it stays what it was.
            if let Some(identity) = peer.channel.servers().identity() {
                self.learn(peer, &mut told, &identity);
            }
            report(peer, dependencies);
        }
    }

    /// Says what is new. A peer that is away stays what it was.
    fn learn(&self, peer: &Peer, told: &mut Told, identity: &Identity) {
        let meant = peer.meant();
        let (setting, url, service) = (meant.setting, &meant.url, meant.service);
        match identity {
            Identity::Unknown => {}
            Identity::Right => {
                if told.wrong.take().is_some() {
                    tracing::info!(setting, url, service, "the peer is the service that is meant now");
                }
                told.was_right = true;
                told.tell_strays(meant, peer.channel.servers().wrong());
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

/// Tells whether a peer can be called.
fn report(peer: &Peer, dependencies: &Dependencies) {
    let endpoints = peer.endpoints();
    let outcome = match endpoints {
        Endpoints { ready: 1.., .. } => Ok(()),
        Endpoints { not_serving: 1.., .. } => Err("it does not serve".to_owned()),
        _ => Err(peer.channel.servers().failure().unwrap_or_else(|| "it is not reached yet".to_owned())),
    };
    dependencies.report(&peer.meant().name(), 0, outcome);
}

/// What the log says of a peer.
#[derive(Debug, Default)]
struct Told {
    wrong: Option<String>,
    was_right: bool,
    /// The addresses that lead to something else, while others lead to the peer.
    strays: Vec<(SocketAddr, String)>,
}

impl Told {
    /// Names each of them once.
    fn tell_strays(&mut self, meant: &Meant, strays: Vec<(SocketAddr, String)>) {
        for (address, found) in strays.iter().filter(|stray| !self.strays.contains(stray)) {
            tracing::warn!(
                setting = meant.setting,
                url = meant.url,
                service = meant.service,
                %address,
                found,
                "one address of a peer leads to something else, and gets no calls"
            );
        }
        self.strays = strays;
    }
}

/// Who a peer is, as far as that is known within a second.
pub(crate) async fn ask(peer: &Peer) -> Identity {
    timeout(ASK_WITHIN, peer.channel.identity()).await.unwrap_or(Identity::Unknown)
}
