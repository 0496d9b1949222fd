//! How a connection to a server of a peer is opened.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::either::Either;

use super::Meant;
use super::options::PeerOptions;
use crate::tls::Tls;

/// TCP counts in whole seconds.
const KEEPALIVE_LEAST: Duration = Duration::from_secs(1);

/// Opens a connection to one server of the peer that is `meant`, with TLS or without. One that has no right certificate is as
/// good as away, and the log says why.
///
/// # Errors
/// When nobody is there, does not answer in time, or is not the service that is meant.
pub(super) async fn connect(
    address: SocketAddr,
    meant: &Meant,
    options: &PeerOptions,
    tls: &Tls,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    let stream = timeout(options.connect_timeout, TcpStream::connect(address)).await.map_err(|_| {
        let message = format!("no connection to {} within {:?}", meant.host, options.connect_timeout);
        io::Error::new(io::ErrorKind::TimedOut, message)
    })??;
    stream.set_nodelay(true)?;
    let interval = options.keepalive_interval.max(KEEPALIVE_LEAST);
    let keepalive = TcpKeepalive::new().with_time(interval).with_interval(interval);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    if !meant.is_secure {
        return Ok(Either::Left(stream));
    }
    let stream = tls.connect(stream, &meant.host, &meant.name()).await.inspect_err(|error| {
        let (setting, url) = (meant.setting, &meant.url);
        tracing::warn!(setting, url, %error, "a peer is not called: the TLS handshake with it has failed");
    })?;
    Ok(Either::Right(stream))
}
