//! What is counted and measured of calls to peers.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use http::Response;
use metrics::{Family, Histogram, MeasuredGauge, OTHER};
use tonic::{Code, Status};
use tracing::Span;
use tracing::field::Empty;
use types::{TRACES_ONLY, in_trace};

use super::Meant;
use super::meant::{is_of_every_program, package};
use super::servers::{Endpoints, Servers};
use crate::rpc_metrics::{CODES, MethodCalls, code_name, is_server_fault};
use crate::telemetry;

static CALLS: Family<Histogram, 2> = Family::with_others(
    "rpc_client_call_duration_seconds",
    "How long a call to another service takes, until the head of its answer.",
    ["rpc_method", "rpc_response_status_code"],
    24,
    CODES,
);
static ENDPOINTS: Family<MeasuredGauge, 2> = Family::new(
    "peer_endpoints",
    "Addresses of another service, by what becomes of calls to them, as the first core sees them.",
    ["peer", "state"],
    12,
);

/// The calls to one peer, by path.
#[derive(Debug)]
pub(super) struct PeerCalls {
    known: HashMap<String, Arc<MethodCalls>>,
    other: Arc<MethodCalls>,
}

impl PeerCalls {
    /// To whoever serves this.
    pub(super) fn to(meant: &Meant) -> Self {
        let pool = api::descriptor::pool();
        let is_of_peer = |name: &str| package(name) == package(meant.service) || is_of_every_program(name);
        let services = pool.services().filter(|service| is_of_peer(service.full_name()));
        let methods = services.flat_map(|service| {
            let methods: Vec<_> = service.methods().collect();
            methods.into_iter().map(move |method| format!("{}/{}", service.full_name(), method.name()))
        });
        let known = methods.map(|name| (format!("/{name}"), Arc::new(MethodCalls::unused(&CALLS, &name))));
        Self { known: known.collect(), other: Arc::new(MethodCalls::unused(&CALLS, OTHER)) }
    }

    /// A call that begins.
    pub(super) fn begin(&self, path: &str, meant: &Meant) -> ClientCall {
        let calls = Arc::clone(self.known.get(path).unwrap_or(&self.other));
        let span = in_trace(|| {
            tracing::info_span!(
                target: TRACES_ONLY, "call",
                otel.kind = "client", otel.name = calls.method(), otel.status_code = Empty,
                rpc.system.name = "grpc", rpc.method = calls.method(), rpc.response.status_code = Empty,
                server.address = meant.host, server.port = meant.port
            )
        });
        ClientCall { calls, span, began: Instant::now(), code: Code::Cancelled }
    }
}

/// A call to a peer until the head of its answer. One that is given up before counts as `CANCELLED`.
pub(super) struct ClientCall {
    calls: Arc<MethodCalls>,
    span: Span,
    began: Instant,
    code: Code,
}

impl ClientCall {
    /// Its span, which traces have and logs do not.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// What came of it. Errors of our services come with the head.
    pub(super) fn ended<T>(&mut self, outcome: &Result<Response<T>, Status>) {
        self.code = match outcome {
            Ok(answer) => match Status::from_header_map(answer.headers()) {
                Some(status) => status.code(),
                None if answer.status().is_success() => Code::Ok,
                // Something in between has answered, which tonic tells only later.
                None => Code::Unavailable,
            },
            Err(status) => status.code(),
        };
    }
}

impl Drop for ClientCall {
    fn drop(&mut self) {
        self.span.record("rpc.response.status_code", code_name(self.code));
        if is_server_fault(self.code) {
            self.span.record("otel.status_code", "ERROR");
        }
        self.calls.answered(self.began, self.code, telemetry::recorded(&self.span));
    }
}

/// Measures the addresses of a peer, for as long as it is there.
pub(super) fn measure(program: &str, servers: &Weak<Servers>) {
    let of = |count: fn(Endpoints) -> usize| {
        let servers = Weak::clone(servers);
        move || Some(metrics::number(count(servers.upgrade()?.endpoints())))
    };
    ENDPOINTS.measure([program, "connecting"], of(|all| all.connecting));
    ENDPOINTS.measure([program, "ready"], of(|all| all.ready));
    ENDPOINTS.measure([program, "not_serving"], of(|all| all.not_serving));
    ENDPOINTS.measure([program, "failed"], of(|all| all.failed));
}
