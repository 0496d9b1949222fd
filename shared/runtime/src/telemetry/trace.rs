//! The trace context of W3C: <https://www.w3.org/TR/trace-context/>.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

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
    if let Some(parent) = parse(traceparent) {
        // Fails only without a subscriber, or for a span that the filter left out.
        let _unheard = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

fn current() -> Option<SpanContext> {
    let context = Span::current().context();
    let context = context.span().span_context().clone();
    context.is_valid().then_some(context)
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
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_a_valid_traceparent_is_a_parent() {
        assert_eq!(parse(PARENT).unwrap().trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
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
