//! The trace context of W3C: <https://www.w3.org/TR/trace-context/>.
//!
//! With a collector, the ids are those of the spans that are exported. Without one, making spans for an exporter
//! that is not there would be the dearest part of a short call: then ids are made when somebody asks for them
//! (an error, an event, a call to a peer, a log line) and kept in the extensions of the tracing span.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::{Dispatch, Span, span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::WORKER;

static EXPORTING: AtomicBool = AtomicBool::new(false);

pub(super) fn export() {
    EXPORTING.store(true, Ordering::Relaxed);
}

/// Whether spans may be exported, so that it is worth while to describe them.
pub(crate) fn is_exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

/// The `traceparent` of the current span, for whatever continues its work: an event, a call to a peer.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    let context = current()?;
    let (trace, span) = (context.trace_id(), context.span_id());
    Some(format!("00-{trace}-{span}-{:02x}", context.trace_flags().to_u8() & 1))
}

/// The id of the current trace, 32 hexadecimal digits.
#[must_use]
pub fn trace_id() -> Option<String> {
    Some(current()?.trace_id().to_string())
}

/// Makes a span that was not entered yet a child of the one that `traceparent` names. What is no valid
/// `traceparent` is ignored, as the standard says: the span begins a trace of its own.
pub fn set_parent(span: &Span, traceparent: &str) {
    let Some(parent) = parse(traceparent) else { return };
    if is_exporting() {
        // Fails only for a span that the filter left out.
        let _unheard = span.set_parent(Context::new().with_remote_span_context(parent));
    } else {
        span.with_subscriber(|(id, dispatch)| {
            let registry = dispatch.downcast_ref::<Registry>()?;
            registry.span(id)?.extensions_mut().replace(child(&parent))
        });
    }
}

fn current() -> Option<SpanContext> {
    Span::current().with_subscriber(|(id, dispatch)| of_span(id, dispatch)).flatten()
}

/// The context of a span.
pub(super) fn of_span(id: &span::Id, dispatch: &Dispatch) -> Option<SpanContext> {
    if is_exporting() {
        let context = tracing_opentelemetry::get_otel_context(id, dispatch)?;
        let context = context.span().span_context().clone();
        return context.is_valid().then_some(context);
    }
    made_when_asked(&dispatch.downcast_ref::<Registry>()?.span(id)?)
}

/// The context that was made for the span; else one that continues the nearest span around it that has one; else
/// the outermost span begins a trace, so that all spans inside it share it.
fn made_when_asked<'a, R: LookupSpan<'a>>(span: &SpanRef<'a, R>) -> Option<SpanContext> {
    let id = span.id();
    let mut parent = None;
    let mut outermost = None;
    // A worker lives as long as its process; what it does one after the other is not one trace.
    for span in span.scope().take_while(|span| span.metadata().target() != WORKER) {
        let context = span.extensions().get::<SpanContext>().cloned();
        if let Some(context) = context {
            if span.id() == id {
                return Some(context);
            }
            parent = Some(context);
            break;
        }
        outermost = Some(span);
    }
    let parent = match parent {
        Some(parent) => parent,
        None => keep(&outermost?, begin()),
    };
    // The outermost span may be this one.
    if let Some(context) = span.extensions().get::<SpanContext>() {
        return Some(context.clone());
    }
    Some(keep(span, child(&parent)))
}

fn keep<'a, R: LookupSpan<'a>>(span: &SpanRef<'a, R>, context: SpanContext) -> SpanContext {
    span.extensions_mut().replace(context.clone());
    context
}

fn begin() -> SpanContext {
    let trace = TraceId::from(fastrand::u128(1..));
    SpanContext::new(trace, new_span(), TraceFlags::NOT_SAMPLED, false, TraceState::NONE)
}

/// Keeps the sender's decision whether the trace is recorded: others may do so.
fn child(parent: &SpanContext) -> SpanContext {
    SpanContext::new(parent.trace_id(), new_span(), parent.trace_flags(), false, TraceState::NONE)
}

fn new_span() -> SpanId {
    SpanId::from(fastrand::u64(1..))
}

fn parse(text: &str) -> Option<SpanContext> {
    let bytes = text.as_bytes();
    let shape = bytes.len() >= 55 && bytes[2] == b'-' && bytes[35] == b'-' && bytes[52] == b'-';
    let digits = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        let hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        hex.then_some(digits)
    };
    if !shape {
        return None;
    }
    let version = u8::from_str_radix(digits(0..2)?, 16).ok()?;
    // A later version may have more behind another dash; version 0 has not, and 255 is none.
    if version == 255
        || (version == 0 && bytes.len() != 55)
        || bytes.get(55).is_some_and(|byte| *byte != b'-')
    {
        return None;
    }
    let trace = TraceId::from_hex(digits(3..35)?).ok()?;
    let span = SpanId::from_hex(digits(36..52)?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(digits(53..55)?, 16).ok()? & 1);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use tracing::{info_span, subscriber};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn with_subscriber(test: impl FnOnce()) {
        subscriber::with_default(
            Registry::default().with(tracing_subscriber::fmt::layer().with_writer(std::io::sink)),
            test,
        );
    }

    #[test]
    fn a_trace_goes_on_from_its_parent_through_all_spans() {
        with_subscriber(|| {
            let outer = info_span!("outer");
            set_parent(&outer, PARENT);
            let _outer = outer.entered();
            let outer = current_traceparent().unwrap();
            assert!(outer.starts_with(&format!("00-{TRACE}-")) && outer.ends_with("-01") && outer != PARENT);
            let _middle = info_span!("middle").entered();
            let _inner = info_span!("inner").entered();
            let inner = current_traceparent().unwrap();
            assert!(inner.contains(TRACE) && inner != outer);
            assert_eq!(current_traceparent().unwrap(), inner, "a span keeps its id");
            assert_eq!(trace_id().unwrap(), TRACE);
        });
    }

    #[test]
    fn spans_inside_one_share_its_trace_whoever_asks_first() {
        with_subscriber(|| {
            let _outer = info_span!("outer").entered();
            let first = info_span!("first").in_scope(trace_id).unwrap();
            let second = info_span!("second").in_scope(trace_id).unwrap();
            assert_eq!((&first, &first), (&second, &trace_id().unwrap()));
        });
        assert_eq!(current_traceparent(), None, "no span, no trace");
    }

    #[test]
    fn a_worker_is_not_a_trace_and_what_it_does_is() {
        with_subscriber(|| {
            let _worker = info_span!(target: WORKER, "worker").entered();
            assert_eq!(trace_id(), None);
            let first = info_span!("first").in_scope(trace_id).unwrap();
            let second = info_span!("second").in_scope(trace_id).unwrap();
            assert_ne!(first, second);
        });
    }

    #[test]
    fn only_a_valid_traceparent_is_a_parent() {
        assert_eq!(parse(PARENT).unwrap().trace_id().to_string(), TRACE);
        assert!(parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some());
        for bad in [
            "",
            "garbage",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-1",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
