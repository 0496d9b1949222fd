//! One JSON object a line: the event, its trace id, and the spans around it.
//!
//! The JSON formatter of `tracing-subscriber` knows no trace ids, and parses its own output again whenever a span gets
//! one more field. Here a span's fields are kept as text that can be appended to.

use std::fmt::{self, Write as _};

use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber, dispatcher};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;
use types::{Clock as _, SystemClock};

use super::trace;

/// Formats the fields of spans: `,"name":value` each.
pub(super) struct Fields;

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Visitor { out: &mut writer, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)
    }
}

/// Formats events.
pub(super) struct Event {
    service: &'static str,
}

impl Event {
    pub(super) fn new(service: &'static str) -> Self {
        Self { service }
    }
}

impl<S> FormatEvent<S, Fields> for Event
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Fields>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let mut line = String::with_capacity(256);
        begin(&mut line, self.service, *event.metadata().level(), event.metadata().target())?;
        let mut visitor = Visitor { out: &mut line, result: Ok(()) };
        event.record(&mut visitor);
        visitor.result?;
        if let Some(span) = context.lookup_current() {
            let context = dispatcher::get_default(|dispatch| trace::of_span(&span.id(), dispatch));
            if let Some(context) = context {
                write!(line, r#","trace_id":"{}""#, context.trace_id())?;
            }
        }
        if let Some(scope) = context.event_scope() {
            line.push_str(r#","spans":["#);
            for (index, span) in scope.from_root().enumerate() {
                write!(line, r#"{}{{"span":"{}""#, if index == 0 { "" } else { "," }, span.name())?;
                if let Some(fields) = span.extensions().get::<FormattedFields<Fields>>() {
                    line.push_str(&fields.fields);
                }
                line.push('}');
            }
            line.push(']');
        }
        writeln!(writer, "{line}}}")
    }
}

/// What every line begins with.
fn begin(line: &mut String, service: &str, level: Level, target: &str) -> fmt::Result {
    let time = SystemClock.now().format(&Rfc3339).map_err(|_| fmt::Error)?;
    write!(line, r#"{{"time":"{time}","level":"{level}","service":"{service}","target":"#)?;
    push_text(line, target)
}

/// A line that belongs to no event: a warning with a number.
pub(super) fn warning(
    service: &str,
    target: &str,
    message: &str,
    name: &str,
    number: u64,
) -> Result<String, fmt::Error> {
    let mut line = String::new();
    begin(&mut line, service, Level::WARN, target)?;
    line.push_str(r#","message":"#);
    push_text(&mut line, message)?;
    writeln!(line, r#","{name}":{number}}}"#)?;
    Ok(line)
}

struct Visitor<'a> {
    out: &'a mut dyn fmt::Write,
    result: fmt::Result,
}

impl Visitor<'_> {
    fn write(&mut self, field: &Field, value: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result) {
        // The other names that begin with `otel.` are instructions for the exporter, and those that begin with `messaging.`
        // say in its words what stands in the log anyway.
        let name = match field.name() {
            "otel.name" => "name",
            name if name.starts_with("otel.") || name.starts_with("messaging.") => return,
            name => name,
        };
        if self.result.is_ok() {
            self.result = write!(self.out, ",\"{name}\":").and_then(|()| value(self.out));
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, |out| {
            if value.is_finite() { write!(out, "{value}") } else { push_text(out, &value.to_string()) }
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, |out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, |out| write!(out, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, |out| write!(out, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, |out| push_text(out, value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let chain: Vec<String> = anyhow::Chain::new(value).map(ToString::to_string).collect();
        self.record_str(field, &chain.join(": "));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Writes a JSON string. Characters that start a line, move the cursor or change the direction of writing are escaped,
/// so that a name that somebody chose cannot forge a log line.
fn push_text(out: &mut (impl fmt::Write + ?Sized), text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            c if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                write!(out, "\\u{:04x}", u32::from(c))?;
            }
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_its_line() {
        let mut line = String::new();
        let text = "a\"b\\c\r\nd\u{1b}[31m\u{202e}é\u{0}";
        push_text(&mut line, text).unwrap();
        assert!(line.bytes().all(|byte| byte != b'\n' && byte != 0x1b), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
