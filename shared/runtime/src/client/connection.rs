//! One connection to one server, the calls over it, and how many of them are in progress.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::body::Body;

use super::options::PeerOptions;
use super::outcome::failed;
use super::request::Outgoing;

/// The whole of a call that asks a server nothing but its health.
const HARMLESS: &str = "/grpc.health.v1.Health/Check";

/// One connection to one server.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) address: SocketAddr,
    sender: SendRequest<Outgoing>,
    /// How many calls are in progress.
    busy: AtomicUsize,
}

/// Ends when nothing more can be sent over a connection. What was sent is still answered.
pub(super) type Driver = JoinHandle<hyper::Result<()>>;

impl Connection {
    /// Begins to speak HTTP/2. That the server does so too is only known from its first answer.
    ///
    /// # Errors
    /// When the greeting cannot be sent.
    pub(super) async fn open(
        address: SocketAddr,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        options: &PeerOptions,
    ) -> hyper::Result<(Self, Driver)> {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(options.keepalive_interval)
            .keep_alive_timeout(options.keepalive_timeout)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await?;
        // On a task of its own, so that calls in progress outlive an endpoint that ends.
        #[expect(clippy::disallowed_methods, reason = "ends with its connection")]
        let driver = tokio::spawn(connection);
        Ok((Self { address, sender, busy: AtomicUsize::new(0) }, driver))
    }

    /// Sends a request. One that was certainly not sent comes back with the error.
    pub(super) fn send(
        &self,
        request: Request<Outgoing>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>> + use<> {
        self.sender.clone().try_send_request(request)
    }

    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Lets the driver look whether the server still takes calls. hyper notices that a server goes away only when it is
    /// about to send something; what it is given here is withdrawn before it can be sent.
    pub(super) fn nudge(&self, origin: &Uri) {
        let request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(with_origin(origin, HARMLESS.parse().unwrap_or_default()))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(Outgoing::Whole(Some(Bytes::from_static(&[0; 5]))));
        // It has parts that are all valid.
        if let Ok(request) = request {
            drop(self.send(request));
        }
    }
}

/// The same path at the server's own address, as HTTP/2 wants it.
pub(super) fn with_origin(origin: &Uri, uri: Uri) -> Uri {
    let mut parts = uri.into_parts();
    parts.scheme = origin.scheme().cloned();
    parts.authority = origin.authority().cloned();
    // Both have a scheme, an authority and a path, so the new one has.
    Uri::from_parts(parts).unwrap_or_default()
}

/// Who calls, for logs of proxies.
pub(super) fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("tristore/", env!("CARGO_PKG_VERSION")))
}

/// Counts a call as in progress until it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

impl Busy {
    pub(super) fn with(connection: Arc<Connection>) -> Self {
        connection.busy.fetch_add(1, Ordering::Relaxed);
        Self(connection)
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer. The call is in progress until it was read or dropped.
#[derive(Debug)]
pub struct Answer {
    inner: Incoming,
    _busy: Option<Busy>,
}

impl Answer {
    pub(super) fn new(inner: Incoming, busy: Option<Busy>) -> Self {
        Self { inner, _busy: busy }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.inner).poll_frame(cx).map_err(failed)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Calls over this connection and no other, for what is asked of a server before it gets calls.
#[derive(Debug, Clone)]
pub(super) struct Direct(pub(super) Arc<Connection>);

impl tower::Service<Request<Body>> for Direct {
    type Response = Response<Answer>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        head.headers.insert(header::USER_AGENT, user_agent());
        let sent = Outgoing::of(body).map(|body| self.0.send(Request::from_parts(head, body)));
        Box::pin(async move {
            let answer = sent?.await.map_err(|error| failed(error.into_error()))?;
            Ok(answer.map(|body| Answer::new(body, None)))
        })
    }
}
