//! Calls to a peer, each over a connection to one of its servers.
//!
//! A call that was certainly not processed is sent again: as often as needed when it never left, and once, to another
//! server, when one refused it because it goes away. Whether any other call may be repeated only the caller knows.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, Version, header};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::{Ascii, MetadataValue};
use tracing::Instrument as _;

use super::connection::{Answer, Busy, user_agent, with_origin};
use super::identity::Identity;
use super::metrics::PeerCalls;
use super::options::{AnyServer, CALL_TIMEOUT, PeerOptions};
use super::outcome::{Refusal, failed, never_began_at, never_sent, refusal};
use super::request::Outgoing;
use super::servers::{Endpoints, Servers, Wish};
use super::{Meant, addresses};
use crate::deadline::parse_timeout;
use crate::telemetry;
use crate::tls::Tls;

/// What generated clients call through. It belongs to the tokio runtime that it is made in; clones are the same
/// connections, which are closed with the last of them.
#[derive(Debug, Clone)]
pub struct Channel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Arc<Servers>,
    calls: PeerCalls,
    _end: DropGuard,
}

impl Channel {
    pub(super) fn new(
        meant: Arc<Meant>,
        options: PeerOptions,
        authorization: Option<MetadataValue<Ascii>>,
        tls: Tls,
    ) -> Self {
        let calls = PeerCalls::to(&meant);
        let servers = Servers::new(meant, options, authorization, tls);
        let end = CancellationToken::new();
        let keep = end.clone().run_until_cancelled_owned(addresses::keep(Arc::clone(&servers)));
        #[expect(clippy::disallowed_methods, reason = "ends with the channel")]
        tokio::spawn(keep);
        Self(Arc::new(Inner { servers, calls, _end: end.drop_guard() }))
    }

    pub(super) fn endpoints(&self) -> Endpoints {
        self.0.servers.endpoints()
    }

    /// The servers, for as long as there is a clone of this.
    pub(super) fn watched(&self) -> Weak<Servers> {
        Arc::downgrade(&self.0.servers)
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.0.servers
    }

    /// Who the peer is, as soon as that is known.
    pub(super) async fn identity(&self) -> Identity {
        let mut changes = self.0.servers.changes();
        loop {
            if let Some(identity) = self.0.servers.identity() {
                return identity;
            }
            // The sender is our own.
            drop(changes.changed().await);
        }
    }
}

impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Answer>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Answer>, Status>>;

    /// Always ready: only a call knows how long it can wait for a server.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let channel = self.clone();
        let mut call = channel.0.calls.begin(request.uri().path(), channel.0.servers.meant());
        let span = call.span();
        // What the peer does comes of this call, and not only of what made it.
        if let Some(traceparent) = telemetry::traceparent_of(&span).and_then(|text| text.parse().ok()) {
            request.headers_mut().insert("traceparent", traceparent);
        }
        let answer = async move {
            let outcome = answer(&channel.0.servers, request).await;
            call.ended(&outcome);
            outcome
        };
        Box::pin(answer.instrument(span))
    }
}

async fn answer(servers: &Servers, request: Request<Body>) -> Result<Response<Answer>, Status> {
    let (mut head, body) = request.into_parts();
    let timeout = head.headers.get("grpc-timeout").and_then(|value| parse_timeout(value.as_bytes()).ok());
    let begun = Instant::now();
    // A time beyond what the clock can tell is no limit.
    let deadline = timeout.and_then(|timeout| begun.checked_add(timeout));
    head.uri = with_origin(&servers.meant().uri, head.uri);
    head.version = Version::HTTP_2;
    head.headers.insert(header::USER_AGENT, user_agent());
    let wish = if head.extensions.get::<AnyServer>().is_some() { Wish::Any } else { Wish::Ready };
    head.extensions.clear();
    send(servers, Request::from_parts(head, Outgoing::of(body)?), begun, deadline, wish).await
}

async fn send(
    servers: &Servers,
    mut request: Request<Outgoing>,
    begun: Instant,
    deadline: Option<Instant>,
    wish: Wish,
) -> Result<Response<Answer>, Status> {
    let ready_until = deadline.unwrap_or(begun + CALL_TIMEOUT);
    let mut refused: Option<Busy> = None;
    loop {
        let busy = match servers.pick(refused.as_ref()) {
            Some(busy) => busy,
            None => {
                let busy = servers.wait(ready_until, wish).await.map_err(never_sent)?;
                if let Some(deadline) = deadline {
                    shorten(&mut request, deadline);
                }
                busy
            }
        };
        let copy = if refused.is_none() { copy(&request) } else { None };
        let sent = busy.connection().send(request);
        let sent = match deadline {
            Some(deadline) => timeout_at(deadline, sent).await.map_err(|_| too_late())?,
            None => sent.await,
        };
        let mut error = match sent {
            Ok(answer) => return Ok(answer.map(|body| Answer::new(body, Some(busy)))),
            Err(error) => error,
        };
        if let Some(unsent) = error.take_message() {
            // Each time one connection less is left to try.
            servers.unlist(busy.connection());
            request = unsent;
            continue;
        }
        let error = error.into_error();
        let Some(refusal) = refusal(&error) else {
            return Err(failed(error));
        };
        if refusal == Refusal::Leaving {
            servers.unlist(busy.connection());
        }
        let Some(copy) = copy else {
            return Err(never_began_at(error));
        };
        request = copy;
        refused = Some(busy);
    }
}

/// The same request once more, if its message is at hand.
fn copy(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let mut copy = Request::new(request.body().copy()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// The server is told the time that is left, since some of it was waited.
fn shorten(request: &mut Request<Outgoing>, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now()).as_micros();
    // No more than eight digits are allowed.
    let left = if left < 100_000_000 { format!("{left}u") } else { format!("{}m", left / 1000) };
    if let Ok(left) = HeaderValue::from_str(&left) {
        request.headers_mut().insert("grpc-timeout", left);
    }
}

fn too_late() -> Status {
    Status::deadline_exceeded("the peer did not answer within the time of the call")
}
