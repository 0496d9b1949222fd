//! A table of what a database can say, as people read it: with the code and the reason that a caller gets, and with what
//! becomes of an event whose effects meet it.

use std::fmt::Write as _;

use types::{Connection, Effect, FailureTable, Verdict};

use crate::refusal::Refusal;

/// The table in Markdown.
#[must_use]
pub fn markdown(table: &FailureTable) -> String {
    let mut text = format!(
        "| {} | what it is | took effect | code | reason | connection | we try again | an event |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        table.heading
    );
    for row in table.rows {
        line(&mut text, &format!("`{}`", row.said), row.meaning, row.verdict);
    }
    line(&mut text, "any other", "not known here, so neither is what it did", table.unlisted);
    text
}

fn line(text: &mut String, said: &str, meaning: &str, verdict: Verdict) {
    let failure = verdict.failure("for its wire form");
    let (code, reason) = Refusal::from(&failure).outcome();
    let effect = match verdict.effect {
        Effect::None => "no",
        Effect::Unknown => "unknown",
    };
    let connection = match verdict.connection {
        Connection::GoesOn => "goes on",
        Connection::Replaced => "replaced",
        Connection::AllReplaced => "replaced, idle ones too",
    };
    let again = if verdict.is_tried_again { "yes" } else { "no" };
    let event = if verdict.parks_events() { "is parked" } else { "waits" };
    let code = format!("{code:?}");
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "| {said} | {meaning} | {effect} | {} | {reason} | {connection} | {again} | {event} |",
        wire_name(&code)
    );
}

/// `ResourceExhausted` as it is called on the wire.
fn wire_name(code: &str) -> String {
    let mut name = String::new();
    for letter in code.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use types::{FailureTable, Verdict, row};

    use super::*;

    const ROWS: &[types::FailureRow] = &[row("OOM", "memory is full", Verdict::STORAGE_UNAVAILABLE)];

    #[test]
    fn a_row_shows_what_its_caller_gets() {
        let table = FailureTable {
            heading: "word",
            rows: ROWS,
            unlisted: Verdict::UNAVAILABLE.on_a_new_connection().again(),
        };
        let lines: Vec<String> = markdown(&table).lines().map(str::to_owned).collect();
        assert_eq!(
            lines[2..],
            [
                "| `OOM` | memory is full | no | UNAVAILABLE | STORAGE_UNAVAILABLE | goes on | no | waits |",
                "| any other | not known here, so neither is what it did | unknown | UNAVAILABLE | \
                 DEPENDENCY_UNAVAILABLE | replaced | yes | waits |",
            ]
        );
    }
}
