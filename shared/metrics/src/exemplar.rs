//! An example of what a bucket counted: the trace where one can see it.

use std::time::{SystemTime, UNIX_EPOCH};

/// The id of a recorded trace. Whoever gives one promises that it is recorded: an exemplar that leads nowhere is worse than
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl TraceId {
    /// The trace of a W3C `traceparent`, if it is recorded.
    #[must_use]
    pub fn recorded_in(traceparent: &str) -> Option<Self> {
        let flags = u8::from_str_radix(traceparent.get(53..55)?, 16).ok()?;
        let trace = u128::from_str_radix(traceparent.get(3..35)?, 16).ok()?;
        (flags & 1 == 1).then_some(Self(trace))
    }
}

/// What was measured, in which trace, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exemplar {
    pub(crate) trace: TraceId,
    pub(crate) seconds: f64,
    pub(crate) at: SystemTime,
}

impl Exemplar {
    /// As it stands at the end of a line of text.
    pub(crate) fn text(&self) -> String {
        let Self { trace: TraceId(trace), seconds, at } = self;
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        format!(" # {{trace_id=\"{trace:032x}\"}} {seconds:?} {at:.3}")
    }
}
