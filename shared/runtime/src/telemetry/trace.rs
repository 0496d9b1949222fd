//! The trace context of W3C: <https://www.w3.org/TR/trace-context/>.
//!
//! With a collector, the ids are those of the exported spans. Without one, making such spans would be the most
//! expensive part of a short call. Ids are then made only when something needs them (an error, an event, a call to a
//! peer, a log line), and are kept in the extensions of the tracing span.
//!
//! **Who decides.** Every caller may name the trace, so that both sides can find the call again. Whether the trace is
//! recorded is decided once, by the service that the trace enters from outside, by its own ratio. That decision travels
//! with the calls and events of services. Otherwise any caller could have everything recorded, or nothing.

use std::collections::HashSet;
use std::sync::OnceLock;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::{Dispatch, Span, span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use types::WORKER;

/// The share of new traces that are exported, once there is an exporter.
static EXPORTED_RATIO: OnceLock<f64> = OnceLock::new();

pub(super) fn export(ratio: f64) {
    EXPORTED_RATIO.get_or_init(|| ratio);
}

/// Whether spans are exported, and so are worth describing.
pub(crate) fn is_exporting() -> bool {
    EXPORTED_RATIO.get().is_some()
}

/// The `traceparent` of the current span, for an event or a call to a peer that continues its work.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    Some(text(&current()?))
}

/// The `traceparent` of a span, for what it causes; `None` where there is no such span.
pub(crate) fn traceparent_of(span: &Span) -> Option<String> {
    Some(text(&span.with_subscriber(|(id, dispatch)| of_span(id, dispatch)).flatten()?))
}

fn text(context: &SpanContext) -> String {
    let (trace, span) = (context.trace_id(), context.span_id());
    format!("00-{trace}-{span}-{:02x}", context.trace_flags().to_u8() & 1)
}

/// The id of the current trace, 32 hexadecimal digits.
#[must_use]
pub fn trace_id() -> Option<String> {
    Some(current()?.trace_id().to_string())
}

/// The trace that a span is in, if it is recorded: only such a one can be looked up.
pub(crate) fn recorded(span: &Span) -> Option<metrics::TraceId> {
    if !is_exporting() {
        return None;
    }
    let context = span.with_subscriber(|(id, dispatch)| of_span(id, dispatch)).flatten()?;
    context.is_sampled().then(|| metrics::TraceId(u128::from_be_bytes(context.trace_id().to_bytes())))
}

/// The `traceparent` for what follows from an event that had this one. It is that of the current span, if that span is
/// in the event's trace. A span that handles events of several traces is in one of them only; for the other events it
/// is the event's own.
#[must_use]
pub fn continued(traceparent: Option<&str>) -> Option<String> {
    let event = traceparent?;
    let is_same =
        parse(event).zip(current()).is_some_and(|(event, here)| event.trace_id() == here.trace_id());
    if is_same { current_traceparent() } else { Some(event.to_owned()) }
}

/// Makes a span that was not entered yet a child of the one that another service of ours names in `traceparent`. An
/// invalid `traceparent` is ignored, as the standard demands, and the span begins a trace of its own.
pub(crate) fn set_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        continue_from(span, parent);
    }
}

/// As [`set_parent`] for callers from outside: they name the trace, and we decide whether it is recorded.
pub(crate) fn set_foreign_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        continue_from(span, decided_here(&parent, EXPORTED_RATIO.get().copied().unwrap_or_default()));
    }
}

/// Makes a span that was not entered yet a child of the first of these spans that is recorded, or of the first of all, and
/// links it to the others. For a span that handles several events at once.
pub fn set_parents(span: &Span, traceparents: &[&str]) {
    let parents: Vec<SpanContext> =
        traceparents.iter().filter_map(|traceparent| parse(traceparent)).collect();
    let recorded = parents.iter().find(|parent| parent.is_sampled());
    let Some(parent) = recorded.or_else(|| parents.first()).cloned() else { return };
    if is_exporting() {
        let mut known = HashSet::from([parent.span_id()]);
        parents
            .into_iter()
            .filter(|parent| known.insert(parent.span_id()))
            .for_each(|parent| span.add_link(parent));
    }
    continue_from(span, parent);
}

fn continue_from(span: &Span, parent: SpanContext) {
    if is_exporting() {
        // This fails only for a span that the filter left out.
        let _unheard = span.set_parent(Context::new().with_remote_span_context(parent));
    } else {
        span.with_subscriber(|(id, dispatch)| {
            let registry = dispatch.downcast_ref::<Registry>()?;
            registry.span(id)?.extensions_mut().replace(child(&parent))
        });
    }
}

/// The same trace, with our own decision whether to record it.
fn decided_here(parent: &SpanContext, ratio: f64) -> SpanContext {
    let flags = if fastrand::f64() < ratio { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    SpanContext::new(parent.trace_id(), parent.span_id(), flags, true, TraceState::NONE)
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
    context_on_demand(&dispatch.downcast_ref::<Registry>()?.span(id)?)
}

/// The context that was made for the span. If it has none yet, a new one that continues the nearest enclosing span with
/// a context. If there is no such span either, the outermost span begins a trace, which all spans inside it share.
fn context_on_demand<'a, R: LookupSpan<'a>>(span: &SpanRef<'a, R>) -> Option<SpanContext> {
    let id = span.id();
    let mut parent = None;
    let mut outermost = None;
    // A worker lives as long as its process. The things that it does one after the other are not one trace.
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
        None => store(&outermost?, new_trace()),
    };
    // The outermost span may be this one.
    if let Some(context) = span.extensions().get::<SpanContext>() {
        return Some(context.clone());
    }
    Some(store(span, child(&parent)))
}

fn store<'a, R: LookupSpan<'a>>(span: &SpanRef<'a, R>, context: SpanContext) -> SpanContext {
    span.extensions_mut().replace(context.clone());
    context
}

fn new_trace() -> SpanContext {
    let trace = TraceId::from(fastrand::u128(1..));
    SpanContext::new(trace, new_span(), TraceFlags::NOT_SAMPLED, false, TraceState::NONE)
}

/// Keeps the sender's decision whether the trace is recorded, for the services that are called next.
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
    // A later version may have more fields after another dash. Version 0 has none, and 255 is not a version.
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
    fn a_caller_from_outside_names_the_trace_and_does_not_decide_whether_it_is_recorded() {
        let asked = parse(PARENT).unwrap();
        let silent = parse(&PARENT.replace("-01", "-00")).unwrap();
        for (parent, ratio, recorded) in
            [(&asked, 0.0, false), (&silent, 0.0, false), (&asked, 1.0, true), (&silent, 1.0, true)]
        {
            let decided = decided_here(parent, ratio);
            assert_eq!((decided.trace_id(), decided.span_id()), (parent.trace_id(), parent.span_id()));
            assert_eq!(decided.is_sampled(), recorded, "{ratio}");
        }
        with_subscriber(|| {
            let span = info_span!("call");
            set_foreign_parent(&span, PARENT);
            let traceparent = span.in_scope(current_traceparent).unwrap();
            assert!(traceparent.contains(TRACE) && traceparent.ends_with("-00"), "{traceparent}");
        });
    }

    #[test]
    fn what_comes_of_an_event_goes_on_from_the_span_that_handles_it() {
        let other = PARENT.replace(TRACE, "1af7651916cd43dd8448eb211c80319c");
        with_subscriber(|| {
            let apply = info_span!("apply");
            set_parents(&apply, &["garbage", PARENT, &other]);
            let _apply = apply.entered();
            let next = continued(Some(PARENT)).unwrap();
            assert_eq!(Some(&next), current_traceparent().as_ref());
            assert!(next.contains(TRACE) && next != PARENT);
            assert_eq!(continued(Some(&other)).unwrap(), other, "of another trace");
            assert_eq!(continued(None), None);
        });
        assert_eq!(continued(Some(PARENT)).unwrap(), PARENT, "handled in no span");
    }

    #[test]
    fn of_several_parents_the_first_that_is_recorded_is_followed() {
        let silent = PARENT.replace(TRACE, "1af7651916cd43dd8448eb211c80319c").replace("-01", "-00");
        let later = PARENT.replace(TRACE, "2af7651916cd43dd8448eb211c80319c");
        with_subscriber(|| {
            for (parents, followed) in [
                ([&*silent, PARENT, &later], PARENT),
                (["garbage", &silent, &silent], &silent),
                ([&later, PARENT, &silent], &later),
            ] {
                let span = info_span!("apply");
                set_parents(&span, &parents);
                let traceparent = span.in_scope(current_traceparent).unwrap();
                let of = |text: &str| (text[3..35].to_owned(), text[53..].to_owned());
                assert_eq!(of(&traceparent), of(followed));
            }
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
