//! What the server counts and measures.

use std::time::Instant;

use metrics::{Counter, Family, Histogram, MeasuredGauge};
use tonic::Code;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::rpc_metrics::{CODES, MethodCalls, code_name, is_server_fault};
use crate::telemetry;

/// A process has 3,000 series at the most, and this family about half of them. All methods have one of `OK`; the pairs of
/// method and other code beyond the limit go to the method `_OTHER`.
pub(super) static CALLS: Family<Histogram, 2> = Family::with_others(
    "rpc_server_call_duration_seconds",
    "How long a call takes, from its headers to the head of its answer.",
    ["rpc_method", "rpc_response_status_code"],
    84,
    CODES,
);
pub(super) static IN_PROGRESS: Family<MeasuredGauge, 1> =
    Family::new("server_calls", "Calls that are being answered.", ["kind"], 2);
pub(super) static CONNECTIONS: Family<MeasuredGauge, 0> =
    Family::new("server_connections", "Connections that are open.", [], 1);
static REFUSED: Family<Counter, 1> = Family::new(
    "server_refused_total",
    "Calls, streams and connections that were refused because a limit was reached.",
    ["limit"],
    6,
);

/// What was refused, by the limit that was reached: of the process, or of one source.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) calls: OfLimit,
    pub(super) streams: OfLimit,
    pub(super) connections: OfLimit,
}

/// What one limit has refused.
#[derive(Debug)]
pub(super) struct OfLimit {
    pub(super) all: Counter,
    pub(super) of_peer: Counter,
}

impl Refused {
    pub(super) fn new() -> Self {
        let of = |all, of_peer| OfLimit { all: REFUSED.with([all]), of_peer: REFUSED.with([of_peer]) };
        Self {
            calls: of("calls", "calls_of_peer"),
            streams: of("streams", "streams_of_peer"),
            connections: of("connections", "connections_of_peer"),
        }
    }
}

/// A call until the head of its answer. One that is given up before counts as `CANCELLED`.
pub(super) struct Timed<'a> {
    calls: &'a MethodCalls,
    span: &'a Span,
    began: Instant,
    code: Option<Code>,
}

impl<'a> Timed<'a> {
    pub(super) fn new(calls: &'a MethodCalls, span: &'a Span) -> Self {
        Self { calls, span, began: Instant::now(), code: Some(Code::Cancelled) }
    }

    /// What it was answered with.
    pub(super) fn answered(&mut self, code: Code) {
        self.code = Some(code);
    }

    /// It was no call.
    pub(super) fn is_no_call(&mut self) {
        self.code = None;
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if let Some(code) = self.code {
            describe(self.span, self.calls.method(), code);
            self.calls.answered(self.began, code, telemetry::recorded(self.span));
        }
    }
}

/// Tells the exporter, if there is one, how the call ended, in the words of OpenTelemetry's conventions for RPCs.
fn describe(span: &Span, name: &str, code: Code) {
    if !telemetry::is_exporting() {
        return;
    }
    span.set_attribute("rpc.system.name", "grpc");
    span.set_attribute("rpc.method", name.to_owned());
    span.set_attribute("rpc.response.status_code", code_name(code));
    if is_server_fault(code) {
        span.set_status(opentelemetry::trace::Status::error(format!("{code:?}")));
    }
}
