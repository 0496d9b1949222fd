//! Faults between two processes: a TCP proxy in this process, whose faults are switched on and off while it runs.
//!
//! - [`Proxy::reset`], [`Proxy::refuse`], [`Proxy::silence`], [`Proxy::delay`], [`Proxy::cut_after`]: the faults of
//!   networks.
//! - [`Proxy::answer_instead`], [`Proxy::rewrite`]: what a real server says too rarely to be waited for, or what only
//!   another one says.
//! - [`Proxy::lose`]: the fault that is hardest on software. The work is done, and its acknowledgement is lost.
//!
//! Each fault counts its [`Bites`]. A silent direction loses nothing: as in TCP, the bytes arrive when the silence is
//! over, unless an end has given the connection up.

mod connection;
mod dialogue;
mod edges;
mod grpc;
mod loss;
mod mongo;
mod postgres;
mod redis;
mod switches;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bson::Document;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

pub use dialogue::Protocol;
pub use edges::{Edge, Edges};
pub use loss::{Acknowledgements, Bites, Then};
pub use switches::Direction;

use crate::ports::ReservedPort;
use connection::{Line, serve};
use dialogue::Speech;
use loss::Loss;
use switches::{Cut, Instead, Rewrite, Switches};

/// The proxy of one edge: clients connect to its port and reach the server behind it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    switches: watch::Sender<Switches>,
    state: Arc<State>,
    listening: AbortHandle,
}

#[derive(Debug)]
struct State {
    server: Mutex<SocketAddr>,
    speech: Speech,
    connections: AtomicUsize,
    misunderstood: Mutex<Vec<String>>,
}

impl State {
    fn server(&self) -> SocketAddr {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// A proxy for `server`, without a fault. It runs on a thread of its own, so that several tests with runtimes of
    /// their own can use it.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(server: SocketAddr, protocol: Protocol) -> Result<Self> {
        let port = ReservedPort::any()?.release();
        let listener = runtime()?.spawn(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        let listener = listener.await.context("the proxies' thread has ended")?.context("a proxy's port")?;
        let switches = watch::Sender::default();
        let state = Arc::new(State {
            server: Mutex::new(server),
            speech: Speech::from(protocol),
            connections: AtomicUsize::new(0),
            misunderstood: Mutex::default(),
        });
        let accepting = accept(listener, switches.subscribe(), Arc::clone(&state));
        Ok(Self { port, switches, state, listening: runtime()?.spawn(accepting).abort_handle() })
    }

    /// Where to connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another server, as a name does that moves with a failover.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.state.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Resets all connections, and returns how many there were.
    pub fn reset(&self) -> usize {
        let open = self.connections();
        self.switches.send_modify(|switches| switches.resets += 1);
        open
    }

    /// Resets all connections, and every new one at once.
    pub fn refuse(&self) -> Bites {
        let bites = self.switch(|switches, bites| switches.refusing = Some(bites));
        self.reset();
        bites
    }

    /// Lets nothing through in one direction. Connections stay open, and new ones are accepted.
    pub fn silence(&self, direction: Direction) -> Bites {
        self.switch(|switches, bites| switches.silent[direction as usize] = Some(bites))
    }

    /// Delays everything, in both directions.
    pub fn delay(&self, delay: Duration) -> Bites {
        self.switch(|switches, bites| switches.delay = Some((delay, bites)))
    }

    /// After this many more bytes, resets the connection that carries the last one.
    pub fn cut_after(&self, direction: Direction, bytes: usize) -> Bites {
        let cut = Arc::new(Cut::new(direction, bytes));
        self.switches.send_modify(|switches| switches.cut = Some(Arc::clone(&cut)));
        cut.bites.clone()
    }

    /// Loses acknowledgements. Replaces an earlier loss.
    pub fn lose(&self, which: Acknowledgements) -> Bites {
        let loss = Arc::new(Loss::new(which));
        self.switches.send_modify(|switches| switches.loss = Some(Arc::clone(&loss)));
        loss.bites.clone()
    }

    /// Replaces the answers to work whose text contains this; `answer` is a whole frame of the protocol. The server has
    /// done the work all the same. For protocols with one frame an answer: [`Protocol::Redis`].
    pub fn answer_instead(&self, of: &str, answer: &str) -> Bites {
        let instead = Arc::new(Instead::new(of, answer));
        self.switches.send_modify(|switches| switches.instead = Some(Arc::clone(&instead)));
        instead.bites.clone()
    }

    /// Changes the server's answers to work whose text contains this, in whatever way they turned out. Several changes
    /// add up. For [`Protocol::Mongo`].
    pub fn rewrite(&self, of: &str, change: impl Fn(&mut Document) + Send + Sync + 'static) -> Bites {
        let rewrite = Arc::new(Rewrite::new(of, change));
        let bites = rewrite.bites.clone();
        self.switches.send_modify(|switches| switches.rewrites.push(rewrite));
        bites
    }

    /// Switches all faults off. Connections that have lost something are reset.
    pub fn heal(&self) {
        self.switches.send_modify(Switches::heal);
    }

    /// Fails if any connection did not follow the edge's protocol. Such connections are reset.
    ///
    /// # Errors
    /// With what was not understood.
    pub fn understood(&self) -> Result<()> {
        let misunderstood = self.state.misunderstood.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(misunderstood.is_empty(), "to {}: {}", self.state.server(), misunderstood.join("; "));
        Ok(())
    }

    /// The commands of every transaction so far that began with this command, for [`Protocol::Mongo`]. Each command is
    /// one exchange with the server.
    #[must_use]
    pub fn transactions(&self, first: &str) -> Vec<Vec<String>> {
        let all = self.state.speech.transactions();
        let texts = all.iter().filter(|work| work.first().is_some_and(|text| &**text == first));
        texts.map(|work| work.iter().map(|text| text.to_string()).collect()).collect()
    }

    fn switch(&self, set: impl FnOnce(&mut Switches, Bites)) -> Bites {
        let bites = Bites::default();
        self.switches.send_modify(|switches| set(switches, bites.clone()));
        bites
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn accept(listener: TcpListener, switches: watch::Receiver<Switches>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let refusing = switches.borrow().refusing.clone();
                if let Some(bites) = refusing {
                    bites.add();
                    let _ = client.set_zero_linger();
                } else {
                    connections.spawn(connect(client, Arc::clone(&state), Line::new(&switches)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(client: TcpStream, state: Arc<State>, line: Line) {
    let Ok(server) = TcpStream::connect(state.server()).await else {
        let _ = client.set_zero_linger();
        return;
    };
    state.connections.fetch_add(1, Ordering::SeqCst);
    let served = serve(client, server, line, state.speech.begin()).await;
    state.connections.fetch_sub(1, Ordering::SeqCst);
    if let Err(error) = served {
        let mut misunderstood = state.misunderstood.lock().unwrap_or_else(PoisonError::into_inner);
        misunderstood.push(format!("{error:#}"));
    }
}

/// The thread that all proxies of this process run on.
fn runtime() -> Result<&'static Handle> {
    static RUNTIME: OnceLock<Option<Handle>> = OnceLock::new();
    let handle = RUNTIME.get_or_init(|| {
        let (tell, told) = mpsc::channel();
        let run = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            if tell.send(runtime.handle().clone()).is_ok() {
                runtime.block_on(std::future::pending::<()>());
            }
        };
        std::thread::Builder::new().name("proxies".to_owned()).spawn(run).ok()?;
        told.recv().ok()
    });
    handle.as_ref().context("no thread for proxies")
}
