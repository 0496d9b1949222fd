//! How a connection to a server of a peer is opened.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Meant;
use super::options::PeerOptions;

/// TCP counts in whole seconds.
const KEEPALIVE_LEAST: Duration = Duration::from_secs(1);

/// Opens a connection to one server of the peer that is `meant`.
///
/// # Errors
/// When nobody is there, or does not answer in time.
pub(super) async fn connect(
    address: SocketAddr,
    meant: &Meant,
    options: &PeerOptions,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    let stream = timeout(options.connect_timeout, TcpStream::connect(address)).await.map_err(|_| {
        let message = format!("no connection to {} within {:?}", meant.host, options.connect_timeout);
        io::Error::new(io::ErrorKind::TimedOut, message)
    })??;
    stream.set_nodelay(true)?;
    let interval = options.keepalive_interval.max(KEEPALIVE_LEAST);
    let keepalive = TcpKeepalive::new().with_time(interval).with_interval(interval);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}
