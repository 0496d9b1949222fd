//! The connection to a peer, with TLS or without.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

use super::Meant;
use crate::tls::Tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that has fallen silent without being reset is given up after the sum of both times. Until then, calls
/// over it stay without an answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel that connects when it is first used, and again whenever the connection was lost. It belongs to the tokio
/// runtime that it is made in.
pub(super) fn channel(url: Uri, meant: &Arc<Meant>, tls: &Tls) -> Channel {
    let endpoint = Endpoint::from(url)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    if meant.is_secure {
        return endpoint.connect_with_connector_lazy(Secure::new(tls.clone(), Arc::clone(meant)));
    }
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE_INTERVAL))
        .connect_lazy()
}

/// Connects to one peer. One that is not the service that is meant is as good as away: calls to it say UNAVAILABLE, and the
/// log says why.
#[derive(Debug, Clone)]
struct Secure {
    tcp: HttpConnector,
    tls: Tls,
    meant: Arc<Meant>,
}

impl Secure {
    fn new(tls: Tls, meant: Arc<Meant>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE_INTERVAL));
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self { tcp, tls, meant }
    }
}

impl Service<Uri> for Secure {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(context).map_err(io::Error::other)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let connecting = self.tcp.call(url);
        let (tls, meant) = (self.tls.clone(), Arc::clone(&self.meant));
        Box::pin(async move {
            let stream = connecting.await.map_err(io::Error::other)?.into_inner();
            let stream = tls.connect(stream, &meant.host, &meant.name()).await.inspect_err(|error| {
                let (setting, url) = (meant.setting, &meant.url);
                tracing::warn!(setting, url, %error, "a peer is not called: the TLS handshake with it has failed");
            })?;
            Ok(TokioIo::new(stream))
        })
    }
}
