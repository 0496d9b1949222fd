//! The life of one connection: its limits, its age, its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auth::CertificateIdentity;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpConnectInfo;

use super::body::CallBody;
use super::call::Calls;
use super::limits::{ConnectionSlot, Pool};
use crate::config::ServerConfig;
use crate::tls::{Accepted, Tls};

const HEADER_LIST_MAX: u32 = 8 * 1024;
/// Enough for the longest message in one go; what a client may have in flight is memory of ours.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Per stream: what a client does not read waits here. Times `STREAMS_MAX` it is what streams may cost that nobody
/// reads.
const SEND_BUFFER_MAX: usize = 64 * 1024;

/// An idle peer that was told to go away has this long to do so.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// Serves connections of one core.
#[derive(Clone)]
pub(super) struct Connections {
    calls: Arc<dyn Calls>,
    http2: http2::Builder<TokioExecutor>,
    config: Arc<ServerConfig>,
    tls: Tls,
    shutdown: CancellationToken,
}

/// What is known of a connection before its first call.
struct Origin {
    info: TcpConnectInfo,
    certificate: CertificateIdentity,
    /// How long the certificates of both sides are valid yet.
    valid_for: Option<Duration>,
}

impl Connections {
    pub(super) fn new(
        calls: Arc<dyn Calls>,
        config: Arc<ServerConfig>,
        tls: Tls,
        shutdown: CancellationToken,
    ) -> Self {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.concurrent_streams_max)
            .max_header_list_size(HEADER_LIST_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER_MAX)
            .keep_alive_interval(config.keepalive_interval)
            .keep_alive_timeout(config.keepalive_timeout);
        Self { calls, http2, config, tls, shutdown }
    }

    /// Serves one connection to its end.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        slot: ConnectionSlot,
    ) -> impl Future<Output = ()> + Send + 'static {
        let this = self.clone();
        async move {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
            }
            let info = TcpConnectInfo { local_addr: stream.local_addr().ok(), remote_addr: Some(peer) };
            let ended = if this.tls.serves() {
                let Some(Accepted { stream, client: certificate, valid_for }) =
                    this.secure(stream, peer).await
                else {
                    return;
                };
                let origin = Origin { info, certificate, valid_for: Some(valid_for) };
                Box::pin(this.converse(stream, peer, origin, &slot)).await
            } else {
                let origin = Origin { info, certificate: CertificateIdentity::Absent, valid_for: None };
                this.converse(stream, peer, origin, &slot).await
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a connection broke");
            }
        }
    }

    /// The handshake of TLS. A process that stops waits for one no longer than for an idle peer.
    async fn secure(&self, stream: TcpStream, peer: SocketAddr) -> Option<Accepted> {
        let stopped = async {
            self.shutdown.cancelled().await;
            sleep(LEAVE_WITHIN).await;
        };
        let accepted = tokio::select! {
            accepted = self.tls.accept(stream) => accepted,
            () = stopped => return None,
        };
        accepted.inspect_err(|error| tracing::debug!(%peer, %error, "refused a TLS handshake")).ok()
    }

    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        peer: SocketAddr,
        Origin { info, certificate, valid_for }: Origin,
        slot: &ConnectionSlot,
    ) -> Result<(), hyper::Error> {
        let activity = Arc::new(Activity::of(Arc::clone(&slot.pool), certificate));
        let handler = Handler { calls: Arc::clone(&self.calls), activity: Arc::clone(&activity), info };
        let mut connection = pin!(self.http2.serve_connection(TokioIo::new(stream), handler));
        let age_max = self.config.connection_age_max.mul_f64(0.9 + 0.2 * fastrand::f64());
        let age_max = valid_for.map_or(age_max, |valid_for| {
            age_max.min(leaves_after(valid_for, self.config.connection_age_grace))
        });
        // Nobody is served by a certificate that has expired, not even to the end of a call.
        let expires_at = valid_for.map(|valid_for| Instant::now() + valid_for);
        let mut end = pin!(sleep(age_max));
        let mut watch = pin!(sleep(self.config.first_request_timeout));
        let mut is_leaving = false;
        let mut begun = 0;
        loop {
            let grace = tokio::select! {
                biased;
                result = &mut connection => return result,
                () = &mut end => {
                    if is_leaving {
                        tracing::debug!(%peer, "closed a connection whose calls did not end in time");
                        return Ok(());
                    }
                    self.config.connection_age_grace
                }
                () = self.shutdown.cancelled(), if !is_leaving => self.config.drain_timeout,
                () = &mut watch => {
                    let before = std::mem::replace(&mut begun, activity.begun());
                    let is_idle = begun == before && !activity.is_live();
                    // A leaving peer that does not even answer the last ping is not waited for.
                    if begun == 0 || (is_idle && is_leaving) {
                        tracing::debug!(%peer, "closed a connection without a call");
                        return Ok(());
                    }
                    if is_leaving || !is_idle {
                        let next = if is_leaving { LEAVE_WITHIN } else { self.config.idle_timeout };
                        watch.as_mut().reset(Instant::now() + next);
                        continue;
                    }
                    self.config.connection_age_grace
                }
            };
            connection.as_mut().graceful_shutdown();
            is_leaving = true;
            begun = activity.begun();
            let ends_at = Instant::now() + grace;
            end.as_mut().reset(expires_at.map_or(ends_at, |expires_at| ends_at.min(expires_at)));
            watch.as_mut().reset(Instant::now() + LEAVE_WITHIN);
        }
    }
}

/// When a peer is asked to leave whose connection's certificates are valid yet for this long: so early that its calls can
/// end. A peer that comes with a certificate which is about to expire is served for nine tenths of the time that is left.
fn leaves_after(valid_for: Duration, grace: Duration) -> Duration {
    valid_for - grace.min(valid_for / 10)
}

/// What happened on a connection.
#[derive(Debug)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    /// What the connection's source has open.
    source: Arc<Pool>,
    /// Whose certificate the peer has shown.
    certificate: CertificateIdentity,
}

impl Activity {
    fn of(source: Arc<Pool>, certificate: CertificateIdentity) -> Self {
        Self { begun: AtomicU64::new(0), ended: AtomicU64::new(0), source, certificate }
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn is_live(&self) -> bool {
        self.begun() != self.ended.load(Ordering::Relaxed)
    }
}

/// Counts a call as live until its answer was sent.
#[derive(Debug)]
pub(super) struct Live(Arc<Activity>);

impl Live {
    /// What the call's source has open.
    pub(super) fn source(&self) -> &Pool {
        &self.0.source
    }

    /// Whose certificate the caller's connection has.
    pub(super) fn certificate(&self) -> &CertificateIdentity {
        &self.0.certificate
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

struct Handler {
    calls: Arc<dyn Calls>,
    activity: Arc<Activity>,
    info: TcpConnectInfo,
}

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Response<CallBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.activity.begun.fetch_add(1, Ordering::Relaxed);
        let live = Live(Arc::clone(&self.activity));
        request.extensions_mut().insert(self.info.clone());
        Arc::clone(&self.calls).answer(request, live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_leaves_so_early_that_its_calls_can_end_before_a_certificate_does() {
        let [second, grace, day] = [1, 30, 86_400].map(Duration::from_secs);
        assert_eq!(leaves_after(day, grace), day - grace);
        assert_eq!(leaves_after(second, grace), second.mul_f64(0.9));
        assert_eq!(leaves_after(Duration::ZERO, grace), Duration::ZERO);
    }
}
