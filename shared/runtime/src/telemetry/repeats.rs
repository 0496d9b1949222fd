//! A line for each cause, and not one for each call: while a database is away, hundreds of calls a second fail in the same
//! way.
//!
//! The first line of a cause is written. The same line again is left out and counted, once a minute it is written after
//! all, and when it has not come for a while, one more line tells how often it was left out. Two lines are the same when
//! they are of one place in the code, with the same fields; in the text of an error, numbers do not count, since they are
//! ports, times and counters.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// A cause that has not come for this long is over.
const QUIET: Duration = Duration::from_secs(10);
/// A cause that lasts is written again this often.
const REMIND: Duration = Duration::from_secs(60);
/// Lines of more causes at a time are all written.
const CAUSES_MAX: usize = 256;
/// Lines that are a record of their own: each counts.
const AUDIT: &str = "audit";
/// The fields whose text is that of an error.
const TEXTS: [&str; 4] = ["error", "source", "message", "panic"];

/// Leaves out warnings and errors that repeat others.
#[derive(Debug, Clone, Default)]
pub struct Repeats(Arc<Mutex<Causes>>);

impl Repeats {
    /// Writes how often lines were left out whose cause is over, or, when `all` is set, whatever cause they have.
    pub fn tell(&self, all: bool) {
        let over = self.causes(|causes| causes.over(Instant::now(), all));
        // Not while the causes are locked: these lines are looked at as well.
        for Over { line, count, lasted } in over {
            tracing::warn!(line, count, seconds = lasted.as_secs(), "left out lines that said the same");
        }
    }

    /// Formats lines, and leaves out those that repeat others.
    pub fn format<F>(&self, format: F) -> OncePerCause<F> {
        OncePerCause { format, repeats: self.clone() }
    }

    fn is_written(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || metadata.target() == AUDIT {
            return true;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let cause = Cause { place: metadata.callsite(), fields: fields.text };
        self.causes(|causes| causes.is_written(cause, fields.message, Instant::now()))
    }

    fn causes<T>(&self, look: impl FnOnce(&mut Causes) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Formats the lines that are written. It is here that the others are left out, and not in a filter of the layer: one that
/// looks at an event's fields makes tracing lose the next event.
#[derive(Debug, Clone)]
pub struct OncePerCause<F> {
    format: F,
    repeats: Repeats,
}

impl<S, N, F> FormatEvent<S, N> for OncePerCause<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.repeats.is_written(event) { self.format.format_event(context, writer, event) } else { Ok(()) }
    }
}

/// What makes two lines the same.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Cause {
    place: Identifier,
    fields: String,
}

#[derive(Debug)]
struct Lines {
    message: String,
    first: Instant,
    last: Instant,
    written: Instant,
    left_out: u64,
}

/// Lines that were left out, of a cause that is over.
#[derive(Debug, PartialEq, Eq)]
struct Over {
    line: String,
    count: u64,
    lasted: Duration,
}

#[derive(Debug, Default)]
struct Causes(HashMap<Cause, Lines>);

impl Causes {
    fn is_written(&mut self, cause: Cause, message: String, now: Instant) -> bool {
        if let Some(lines) = self.0.get_mut(&cause) {
            lines.last = now;
            let is_due = now.duration_since(lines.written) >= REMIND;
            if is_due {
                lines.written = now;
            } else {
                lines.left_out += 1;
            }
            return is_due;
        }
        if self.0.len() >= CAUSES_MAX {
            // Those that repeated nothing have nothing to tell.
            self.0.retain(|_, lines| lines.left_out > 0 || now.duration_since(lines.last) < QUIET);
        }
        if self.0.len() < CAUSES_MAX {
            self.0.insert(cause, Lines { message, first: now, last: now, written: now, left_out: 0 });
        }
        true
    }

    fn over(&mut self, now: Instant, all: bool) -> Vec<Over> {
        let mut over = Vec::new();
        self.0.retain(|_, lines| {
            let is_over = all || now.duration_since(lines.last) >= QUIET;
            if is_over && lines.left_out > 0 {
                let line = std::mem::take(&mut lines.message);
                over.push(Over { line, count: lines.left_out, lasted: lines.last - lines.first });
            }
            !is_over
        });
        over
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    text: String,
}

impl Fields {
    fn push(&mut self, field: &Field, value: impl fmt::Display) {
        let mut value = value.to_string();
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        }
        if TEXTS.contains(&field.name()) {
            value = without_numbers(&value);
        }
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{}={value}", field.name());
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, types::chain(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format_args!("{value:?}"));
    }
}

fn without_numbers(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_ascii_digit() {
            short.push(c);
        } else if !short.ends_with('#') {
            short.push('#');
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing::Metadata;
    use tracing::subscriber::Interest;

    use super::*;

    /// What is written.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(work: impl FnOnce(&Repeats)) -> Vec<String> {
        let (log, repeats) = (Log::default(), Repeats::default());
        let writer = log.clone();
        let format = tracing_subscriber::fmt::format().without_time().with_ansi(false).with_target(false);
        let subscriber = tracing_subscriber::fmt().event_format(repeats.format(format));
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || work(&repeats));
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    fn fail(error: &str, transfer: u32) {
        tracing::warn!(error, transfer, "the call failed");
    }

    #[test]
    fn a_cause_is_one_line_and_how_often_it_repeated_is_told_in_the_end() {
        let written = lines(|repeats| {
            for port in 0..100 {
                fail(&format!("127.0.0.1:{port} refused"), 1);
            }
            fail("no space left", 1);
            fail("no space left", 2);
            repeats.tell(false);
            repeats.tell(true);
            repeats.tell(true);
        });
        assert_eq!(
            written,
            [
                "WARN the call failed error=\"127.0.0.1:0 refused\" transfer=1",
                "WARN the call failed error=\"no space left\" transfer=1",
                "WARN the call failed error=\"no space left\" transfer=2",
                "WARN left out lines that said the same line=\"the call failed\" count=99 seconds=0",
            ]
        );
    }

    #[test]
    fn what_is_no_warning_and_the_audit_are_always_written() {
        let written = lines(|_| {
            for _ in 0..2 {
                tracing::info!("serving");
                tracing::warn!(target: AUDIT, "a login failed");
            }
        });
        assert_eq!(written.len(), 4, "{written:?}");
    }

    #[test]
    fn a_cause_that_lasts_is_written_every_minute_and_is_new_after_a_pause() {
        let mut causes = Causes::default();
        let begun = Instant::now();
        let note = |causes: &mut Causes, seconds: u64| {
            let cause = Cause { place: place(), fields: String::new() };
            causes.is_written(cause, "away".to_owned(), begun + Duration::from_secs(seconds))
        };
        let written: Vec<u64> = (0..=130).filter(|second| note(&mut causes, *second)).collect();
        assert_eq!(written, [0, 60, 120]);
        assert_eq!(causes.over(begun + Duration::from_secs(139), false), []);
        let over = causes.over(begun + Duration::from_secs(140), false);
        assert_eq!(over, [Over { line: "away".to_owned(), count: 128, lasted: Duration::from_secs(130) }]);
        assert!(note(&mut causes, 141), "it is over, so that the next one is new");
    }

    /// The identity of some place in the code.
    fn place() -> Identifier {
        struct Place;
        impl tracing::callsite::Callsite for Place {
            fn set_interest(&self, _: Interest) {}
            fn metadata(&self) -> &Metadata<'_> {
                unreachable!("nobody asks")
            }
        }
        static PLACE: Place = Place;
        Identifier(&PLACE)
    }
}
