//! One socket a core on one port, and the loop that accepts from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Connections;
use super::limits::Limits;

const BACKLOG: u32 = 1024;
/// Out of file descriptors: whoever closes one ends the wait.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds `count` sockets to one port. None of them listens yet, so a core gets no connections before it can
/// serve them.
pub(super) fn bind(address: SocketAddr, count: usize) -> anyhow::Result<(SocketAddr, Vec<TcpSocket>)> {
    unshared(address)?;
    let first = bind_one(address, true)?;
    let address = first.local_addr().context("reading the bound address")?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(bind_one(address, true)?);
    }
    Ok((address, sockets))
}

/// Sockets that share a port would also share it with another service that was given the same one by mistake. Without
/// the option to share, the system says that somebody listens there; one that only bound the port it does not see yet,
/// so this is asked at the start, to fail early, and once more at the last moment before we listen ourselves.
pub(super) fn unshared(address: SocketAddr) -> anyhow::Result<()> {
    bind_one(address, false).map(drop)
}

fn bind_one(address: SocketAddr, shared: bool) -> anyhow::Result<TcpSocket> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(shared)?;
        socket.bind(address)?;
        std::io::Result::Ok(socket)
    };
    bind().with_context(|| format!("--listen {address}"))
}

/// Starts to listen; inside the core's runtime.
pub(super) fn listen(socket: TcpSocket) -> anyhow::Result<TcpListener> {
    socket.listen(BACKLOG).context("listening")
}

/// Accepts until `shutdown`, then serves whoever is in the queue already and closes the socket.
pub(super) async fn accept(
    listener: TcpListener,
    connections: &Connections,
    limits: &Arc<Limits>,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let admit = |stream: TcpStream, peer: SocketAddr| match limits.connection(peer.ip()) {
        Some(slot) => {
            tracker.spawn(connections.serve(stream, peer, slot));
        }
        None => tracing::debug!(%peer, "refused a connection: there are too many"),
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        admit(stream, peer);
    }
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
