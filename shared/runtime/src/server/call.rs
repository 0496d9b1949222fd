//! One call, from its headers to the head of its answer.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use auth::{Admitted, AuthLayer, Credentials, PolicyTable, SessionVerifier};
use futures_util::FutureExt as _;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service as _;
use tracing::{Instrument as _, Span};

use super::body::{CallBody, LimitedBody, StreamEnd};
use super::connection::Live;
use super::errors::{Errors, split_error};
use super::layers::Layers;
use super::limits::{CallSlot, Limits, Pool, StreamSlot};
use super::methods::{Known, Method, Methods};
use super::metrics::Timed;
use crate::deadline::{Deadline, parse_timeout};
use crate::telemetry;

/// The longest message to health or reflection, in bytes. They are open to everybody, ask with a name, and cost what
/// they say: a watch keeps its message while it lasts, and reflection sends it back with the answer.
const NAME_MESSAGE_MAX: usize = 16 * 1024;

/// The future of an answer.
pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Response<CallBody>, Infallible>> + Send>>;

/// Answers calls; the verifier's type is of no interest to connections.
pub(super) trait Calls: Send + Sync {
    /// Answers one call.
    fn answer(self: Arc<Self>, request: Request<Incoming>, live: Live) -> Answer;
}

/// Everything that a call passes through.
pub(super) struct Pipeline<V> {
    pub(super) auth: AuthLayer<V>,
    pub(super) layers: Layers,
    pub(super) routes: Routes,
    pub(super) methods: Methods,
    pub(super) errors: Arc<Errors>,
    pub(super) limits: Arc<Limits>,
    pub(super) request_deadline: Duration,
    pub(super) shutdown: CancellationToken,
}

impl<V: SessionVerifier> Calls for Pipeline<V> {
    fn answer(self: Arc<Self>, request: Request<Incoming>, live: Live) -> Answer {
        Box::pin(async move {
            let known = self.methods.find(request.uri().path());
            let credentials = self.auth.credentials(request.headers(), live.certificate());
            let span = self.span(request.headers(), known.name(), credentials.is_service());
            let call = Call { known, credentials, span: &span };
            let answer = self.attempt(request, call, live).instrument(span.clone());
            Ok(answer.await)
        })
    }
}

/// What is known of a call before anybody looks at its message.
struct Call<'a> {
    known: &'a Known,
    credentials: Credentials,
    span: &'a Span,
}

/// What a call occupies while it is answered.
enum Slot<'a> {
    Call {
        _slot: CallSlot<'a>,
    },
    Stream(StreamSlot),
    /// Health is answered also when the server is busy.
    Health,
}

impl<V: SessionVerifier> Pipeline<V> {
    /// Named by the method that the server has, and nothing that a caller wrote: every further field would be
    /// formatted for each call as well.
    fn span(&self, headers: &HeaderMap, name: &str, is_service: bool) -> Span {
        let span = tracing::info_span!("rpc", otel.name = name, otel.kind = "server");
        if let Some(traceparent) = headers.get("traceparent").and_then(|value| value.to_str().ok()) {
            if is_service {
                telemetry::set_parent(&span, traceparent);
            } else {
                telemetry::set_foreign_parent(&span, traceparent);
            }
        }
        span
    }

    async fn attempt(&self, request: Request<Incoming>, call: Call<'_>, live: Live) -> Response<CallBody> {
        let Call { known, span, .. } = call;
        let mut timed = Timed::new(&known.calls, span);
        let body = |live, body, end| CallBody::new(body, Arc::clone(&self.errors), span.clone(), end, live);
        if let Some(refusal) = not_grpc(&request) {
            let mut response = Response::new(body(live, Body::default(), None));
            *response.status_mut() = refusal;
            timed.is_no_call();
            return response;
        }
        match self.answer_within(request, call, live.source()).await {
            Ok((response, end)) => {
                timed.answered(Code::Ok);
                response.map(|inner| body(live, inner, end))
            }
            Err(status) => {
                let status = self.errors.complete(status);
                timed.answered(status.code());
                status.into_http::<Body>().map(|inner| body(live, inner, None))
            }
        }
    }

    /// The answer, and for a stream what ends it.
    async fn answer_within(
        &self,
        request: Request<Incoming>,
        call: Call<'_>,
        source: &Pool,
    ) -> Result<(Response<Body>, Option<StreamEnd>), Status> {
        let deadline = self.begin(request.headers(), call.known.method)?;
        let slot = self.slot(&call, source)?;
        let response = self.run(request, call, deadline).await.and_then(split_error)?;
        let end = match slot {
            Slot::Call { .. } | Slot::Health => None,
            Slot::Stream(slot) => Some(StreamEnd {
                shutdown: Box::pin(self.shutdown.clone().cancelled_owned()),
                deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline.0))),
                _slot: slot,
            }),
        };
        Ok((response, end))
    }

    fn slot<'a>(&'a self, call: &Call<'_>, source: &'a Pool) -> Result<Slot<'a>, Status> {
        match call.known.method {
            Method::Unary => {
                let slot = self.limits.call(source, call.credentials.is_service());
                Ok(Slot::Call { _slot: slot.ok_or_else(|| self.errors.overloaded("calls"))? })
            }
            Method::Streaming => {
                let slot = self.limits.stream(source, call.credentials.is_service());
                Ok(Slot::Stream(slot.ok_or_else(|| self.errors.overloaded("streams"))?))
            }
            Method::Health => Ok(Slot::Health),
        }
    }

    /// Finds out until when the call must be answered.
    fn begin(&self, headers: &HeaderMap, method: Method) -> Result<Option<Deadline>, Status> {
        let now = Instant::now();
        let asked = match headers.get("grpc-timeout") {
            Some(value) => Some(parse_timeout(value.as_bytes()).map_err(|_| self.errors.bad_timeout())?),
            None => None,
        };
        let allowed = match method {
            Method::Streaming => asked,
            Method::Unary | Method::Health => {
                Some(asked.map_or(self.request_deadline, |asked| asked.min(self.request_deadline)))
            }
        };
        // A time beyond what the clock can tell is no limit.
        let deadline = allowed.and_then(|allowed| now.checked_add(allowed)).map(Deadline);
        if deadline.is_some_and(|deadline| deadline.remaining().is_zero()) {
            return Err(self.errors.deadline_exceeded());
        }
        Ok(deadline)
    }

    async fn run(
        &self,
        request: Request<Incoming>,
        Call { known, credentials, .. }: Call<'_>,
        deadline: Option<Deadline>,
    ) -> Result<Response<Body>, Status> {
        let messages = if known.method == Method::Streaming { usize::MAX } else { 1 };
        let max = self.errors.message_size_max;
        let max = if PolicyTable::is_exempt(request.uri().path()) { max.min(NAME_MESSAGE_MAX) } else { max };
        let mut request =
            request.map(|body| Body::new(LimitedBody::new(body, messages, max, Arc::clone(&self.errors))));
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        // In a box of its own: each future around it would move it.
        let call = self.caught(Box::pin(self.handle(request, credentials)));
        let Some(deadline) = deadline else {
            return call.await;
        };
        let call = deadline.scope(call);
        timeout_at(deadline.0, call).await.unwrap_or_else(|_| Err(self.errors.deadline_exceeded()))
    }

    async fn caught(
        &self,
        call: impl Future<Output = Result<Response<Body>, Status>>,
    ) -> Result<Response<Body>, Status> {
        AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| Err(self.errors.panicked()))
    }

    /// Authenticates the call, then leads it through the layers of its method, if there are any, to its handler.
    async fn handle(
        &self,
        request: Request<Body>,
        credentials: Credentials,
    ) -> Result<Response<Body>, Status> {
        let (mut head, body) = request.into_parts();
        let admitted = self.auth.admit(head.uri.path(), &mut head.headers, credentials).await?;
        let Admitted { principal, right } = admitted;
        let response = match self.layers.before(head.uri.path()) {
            Some(layered) => {
                head.extensions.insert(principal.clone());
                let request = Request::from_parts(head, body);
                // In a box of its own: a call that has no layers needs no room for it.
                Box::pin(layered.answer(request, principal, self.routes.clone())).await?
            }
            None => {
                head.extensions.insert(principal);
                let Ok(response) = self.routes.clone().call(Request::from_parts(head, body)).await;
                response
            }
        };
        Ok(match right {
            Some(right) => response.map(|stream| right.limit(stream)),
            None => response,
        })
    }
}

/// The HTTP answer to what is no gRPC call.
fn not_grpc(request: &Request<Incoming>) -> Option<StatusCode> {
    if request.method() != http::Method::POST {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let content_type = request.headers().get(http::header::CONTENT_TYPE).map(|value| value.as_bytes());
    let is_grpc = content_type.is_some_and(|value| {
        value
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    });
    (!is_grpc).then_some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}
