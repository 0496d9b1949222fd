//! The life of one connection: its limits, its age, its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpConnectInfo;

use super::body::CallBody;
use super::call::Calls;
use super::limits::{ConnectionSlot, Pool};
use crate::config::ServerConfig;

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
    shutdown: CancellationToken,
}

impl Connections {
    pub(super) fn new(calls: Arc<dyn Calls>, config: Arc<ServerConfig>, shutdown: CancellationToken) -> Self {
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
        Self { calls, http2, config, shutdown }
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
            if let Err(error) = this.converse(stream, peer, &slot).await {
                tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a connection broke");
            }
        }
    }

    async fn converse(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        slot: &ConnectionSlot,
    ) -> Result<(), hyper::Error> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let activity = Arc::new(Activity::of(Arc::clone(&slot.pool)));
        let handler = Handler {
            calls: Arc::clone(&self.calls),
            activity: Arc::clone(&activity),
            info: TcpConnectInfo { local_addr: stream.local_addr().ok(), remote_addr: Some(peer) },
        };
        let mut connection = pin!(self.http2.serve_connection(TokioIo::new(stream), handler));
        let age_max = self.config.connection_age_max;
        let mut end = pin!(sleep(age_max.mul_f64(0.9 + 0.2 * fastrand::f64())));
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
            end.as_mut().reset(Instant::now() + grace);
            watch.as_mut().reset(Instant::now() + LEAVE_WITHIN);
        }
    }
}

/// What happened on a connection.
#[derive(Debug)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    /// What the connection's source has open.
    source: Arc<Pool>,
}

impl Activity {
    fn of(source: Arc<Pool>) -> Self {
        Self { begun: AtomicU64::new(0), ended: AtomicU64::new(0), source }
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
