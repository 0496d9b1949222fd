//! The servers of one peer: which of them can be called now, and what is known of the others.
//!
//! Calls only look at the list of ready connections. Everything else changes when a server comes or goes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};

use super::Meant;
use super::connection::{Busy, Connection};
use super::identity::Identity;
use super::options::PeerOptions;
use crate::tls::Tls;

/// How many addresses of a peer are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Nothing is known yet, or the connection was lost just now.
    pub connecting: usize,
    /// It gets calls.
    pub ready: usize,
    /// There is a connection, and its health says that it does not serve.
    pub not_serving: usize,
    /// Nobody answers there, or somebody else.
    pub failed: usize,
}

/// Which servers a call may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Those that are ready, waited for.
    Ready,
    /// Any that is connected; see [`super::AnyServer`].
    Any,
}

/// What becomes of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Ready,
    NotServing,
    Failed,
}

#[derive(Debug)]
struct Server {
    state: State,
    identity: Identity,
}

/// What is known of the addresses.
#[derive(Debug, Default)]
struct Known {
    /// The first question for addresses was answered, well or not.
    was_resolved: bool,
    servers: BTreeMap<SocketAddr, Server>,
    /// The last thing that went wrong, for the message of calls that nobody could take.
    failure: Option<String>,
}

/// The servers of one peer, as one tokio runtime sees them.
#[derive(Debug)]
pub(super) struct Servers {
    meant: Arc<Meant>,
    options: PeerOptions,
    /// Shown to the right ones only.
    authorization: Option<MetadataValue<Ascii>>,
    tls: Tls,
    /// Its lock is held for a few instructions, and by this runtime only.
    ready: Mutex<Vec<Arc<Connection>>>,
    /// The connections to servers that do not serve.
    not_serving: Mutex<Vec<Arc<Connection>>>,
    known: Mutex<Known>,
    changes: watch::Sender<()>,
    lost: Notify,
}

impl Servers {
    pub(super) fn new(
        meant: Arc<Meant>,
        options: PeerOptions,
        authorization: Option<MetadataValue<Ascii>>,
        tls: Tls,
    ) -> Arc<Self> {
        Arc::new(Self {
            meant,
            options,
            authorization,
            tls,
            ready: Mutex::default(),
            not_serving: Mutex::default(),
            known: Mutex::default(),
            changes: watch::Sender::new(()),
            lost: Notify::new(),
        })
    }

    pub(super) fn meant(&self) -> &Arc<Meant> {
        &self.meant
    }

    pub(super) fn options(&self) -> &PeerOptions {
        &self.options
    }

    pub(super) fn authorization(&self) -> Option<MetadataValue<Ascii>> {
        self.authorization.clone()
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.ready.lock().expect("no holder of this lock panics")
    }

    fn not_serving(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.not_serving.lock().expect("no holder of this lock panics")
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }

    /// The less busy of two servers picked at random, marked as busy with one call more. The one that has refused the
    /// call is taken again only when there is no other.
    pub(super) fn pick(&self, refused: Option<&Busy>) -> Option<Busy> {
        let ready = self.ready();
        let picked = match &ready[..] {
            [] => return None,
            [only] => only,
            several => {
                let first = fastrand::usize(..several.len());
                let second = fastrand::usize(..several.len() - 1);
                // Another one than the first.
                let second = if second < first { second } else { second + 1 };
                let (first, second) = (&several[first], &several[second]);
                let has_refused = |one| refused.is_some_and(|busy| Arc::ptr_eq(busy.connection(), one));
                let is_second = second.busy() < first.busy();
                if has_refused(first) || (is_second && !has_refused(second)) { second } else { first }
            }
        };
        Some(Busy::with(Arc::clone(picked)))
    }

    /// A server for a call, waited for until then.
    ///
    /// # Errors
    /// Why there was none.
    pub(super) async fn wait(&self, until: Instant, wish: Wish) -> Result<Busy, String> {
        let mut changes = self.changes.subscribe();
        let wait = async {
            loop {
                if let Some(picked) = self.pick(None) {
                    return Some(picked);
                }
                if wish == Wish::Any && self.is_all_tried() {
                    let not_serving = self.not_serving().first().cloned();
                    return not_serving.map(Busy::with);
                }
                // The sender is our own.
                drop(changes.changed().await);
            }
        };
        timeout_at(until, wait).await.ok().flatten().ok_or_else(|| self.why_nobody_is_ready())
    }

    /// Whether it is known of every address what becomes of calls to it.
    fn is_all_tried(&self) -> bool {
        let known = self.known();
        known.was_resolved && !known.servers.values().any(|server| server.state == State::Connecting)
    }

    fn why_nobody_is_ready(&self) -> String {
        let Meant { service, url, .. } = &*self.meant;
        let counts = self.endpoints();
        let failure =
            self.failure().map(|failure| format!("; the last failure: {failure}")).unwrap_or_default();
        format!("no server of {service} at {url} is ready: {counts}{failure}")
    }

    /// Lets this connection get calls.
    pub(super) fn list(&self, connection: &Arc<Connection>) {
        self.not_serving().retain(|other| !Arc::ptr_eq(other, connection));
        self.known().failure = None;
        let mut ready = self.ready();
        if !ready.iter().any(|other| Arc::ptr_eq(other, connection)) {
            ready.push(Arc::clone(connection));
        }
    }

    /// Keeps calls from this connection.
    pub(super) fn unlist(&self, connection: &Arc<Connection>) {
        self.ready().retain(|other| !Arc::ptr_eq(other, connection));
        self.not_serving().retain(|other| !Arc::ptr_eq(other, connection));
    }

    /// Keeps calls from this connection but those that go to any server.
    pub(super) fn list_as_not_serving(&self, connection: &Arc<Connection>) {
        self.unlist(connection);
        self.not_serving().push(Arc::clone(connection));
    }

    /// Tells what became of an address.
    pub(super) fn set(&self, address: SocketAddr, state: State, identity: Identity) {
        self.known().servers.insert(address, Server { state, identity });
        self.changes.send_replace(());
    }

    /// The last thing that went wrong.
    pub(super) fn failure(&self) -> Option<String> {
        self.known().failure.clone()
    }

    /// Tells what went wrong at an address.
    pub(super) fn set_failure(&self, failure: String) {
        self.known().failure = Some(failure);
    }

    /// Forgets an address that the host has no longer.
    pub(super) fn forget(&self, address: SocketAddr) {
        self.known().servers.remove(&address);
        self.changes.send_replace(());
    }

    /// Tells that the addresses were asked for, and what went wrong.
    pub(super) fn resolved(&self, failure: Option<String>) {
        let mut known = self.known();
        let is_first = !std::mem::replace(&mut known.was_resolved, true);
        if failure.is_some() {
            known.failure = failure;
        }
        drop(known);
        if is_first {
            self.changes.send_replace(());
        }
    }

    /// Asks for the addresses sooner.
    pub(super) fn lost(&self) {
        self.lost.notify_one();
    }

    /// Waits until that was asked for.
    pub(super) async fn lost_connection(&self) {
        self.lost.notified().await;
    }

    /// How many addresses are in which state.
    pub(super) fn endpoints(&self) -> Endpoints {
        let mut counts = Endpoints::default();
        for server in self.known().servers.values() {
            *match server.state {
                State::Connecting => &mut counts.connecting,
                State::Ready => &mut counts.ready,
                State::NotServing => &mut counts.not_serving,
                State::Failed => &mut counts.failed,
            } += 1;
        }
        counts
    }

    /// Who the peer is: the right one when any of its servers is; `None` while the first answers may still come.
    pub(super) fn identity(&self) -> Option<Identity> {
        let known = self.known();
        let identities = || known.servers.values().map(|server| &server.identity);
        if identities().any(|identity| *identity == Identity::Right) {
            return Some(Identity::Right);
        }
        let is_asking = known.servers.values().any(|server| server.state == State::Connecting);
        if is_asking || !known.was_resolved {
            return None;
        }
        let wrong = identities().find(|identity| matches!(identity, Identity::Wrong(_)));
        Some(wrong.cloned().unwrap_or(Identity::Unknown))
    }

    /// The addresses that lead to something else, each with what it is.
    pub(super) fn wrong(&self) -> Vec<(SocketAddr, String)> {
        let known = self.known();
        let wrong = known.servers.iter().filter_map(|(address, server)| match &server.identity {
            Identity::Wrong(what) => Some((*address, what.clone())),
            Identity::Right | Identity::Unknown => None,
        });
        wrong.collect()
    }

    /// Hears of every change of what is known.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

impl std::fmt::Display for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { connecting, ready, not_serving, failed } = self;
        write!(f, "{ready} ready, {connecting} connecting, {not_serving} not serving, {failed} failed")
    }
}
