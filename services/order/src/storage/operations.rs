//! How long statements take, by their first word.

use std::sync::{LazyLock, OnceLock};
use std::time::Instant;

use metrics::database::Operations;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgStatement, Postgres};
use sqlx::query::Query;
use sqlx::{Execute, SqlStr};
use tracing::Span;
use tracing::field::Empty;
use types::{TRACES_ONLY, in_trace};

static OPERATIONS: LazyLock<Operations> = LazyLock::new(|| {
    Operations::of(
        "postgresql",
        &["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "BEGIN", "COMMIT", "ROLLBACK"],
    )
});

/// A statement under way. It is counted when this is dropped, whether it was answered or given up.
#[derive(Debug)]
pub(super) struct Operation {
    began: Instant,
    /// The text, once it is known: it is in the query, which lets it be read only by whoever runs it.
    text: OnceLock<SqlStr>,
    span: Span,
}

impl Operation {
    pub(super) fn begin() -> Self {
        let span = in_trace(|| {
            tracing::info_span!(
                target: TRACES_ONLY, "statement",
                otel.kind = "client", otel.name = Empty, otel.status_code = Empty,
                db.system.name = "postgresql", db.operation.name = Empty
            )
        });
        Self { began: Instant::now(), text: OnceLock::new(), span }
    }

    /// A statement without parameters.
    pub(super) fn of(text: &'static str) -> Self {
        let operation = Self::begin();
        operation.hear(SqlStr::from_static(text));
        operation
    }

    /// It has ended like this.
    pub(super) fn ended<T>(self, outcome: &sqlx::Result<T>) {
        if outcome.is_err() {
            self.span.record("otel.status_code", "ERROR");
        }
    }

    /// The same query, whose text is heard when it is run.
    pub(super) fn heard<'q>(&'q self, query: Query<'q, Postgres, PgArguments>) -> Heard<'q> {
        Heard { query, operation: self }
    }

    fn hear(&self, text: SqlStr) {
        // It is run once.
        let _heard_before = self.text.set(text);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(text) = self.text.get() {
            let word = first_word(text.as_str());
            self.span.record("otel.name", word).record("db.operation.name", word);
            OPERATIONS.observe(word, self.began.elapsed());
        }
    }
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    text.split(|character: char| !character.is_ascii_alphabetic()).next().unwrap_or_default()
}

/// A query that says what its text is.
pub(super) struct Heard<'q> {
    query: Query<'q, Postgres, PgArguments>,
    operation: &'q Operation,
}

impl<'q> Execute<'q, Postgres> for Heard<'q> {
    fn sql(self) -> SqlStr {
        let text = self.query.sql();
        self.operation.hear(text.clone());
        text
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        Execute::persistent(&self.query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_operation_and_nothing_else_of_a_text_is() {
        for (text, word) in [
            ("SELECT 1", "SELECT"),
            ("\n     WITH moved AS (SELECT 1)", "WITH"),
            ("BEGIN; SET LOCAL x = 1", "BEGIN"),
            ("COMMIT", "COMMIT"),
            ("(SELECT 'a secret')", ""),
            ("", ""),
        ] {
            assert_eq!(first_word(text), word, "{text}");
        }
    }

    #[test]
    fn an_operation_that_was_run_is_counted_by_its_word() {
        let count = |word: &str| {
            let text = metrics::text();
            let start = format!(
                "db_client_operation_duration_seconds_count{{db_system_name=\"postgresql\",db_operation_name=\"{word}\"}} "
            );
            text.lines().find_map(|line| line.strip_prefix(&start)?.parse::<u64>().ok())
        };
        let operation = Operation::begin();
        let deletes = |(_, text): &(&'static str, &'static str)| text.starts_with("DELETE");
        let (_, text) = crate::storage::every_statement().find(deletes).expect("something is deleted");
        assert_eq!(operation.heard(sqlx::query(text)).sql().as_str(), text);
        drop(operation);
        drop(Operation::begin());
        drop(Operation::of("EXPLAIN"));
        assert_eq!((count("DELETE"), count("_OTHER")), (Some(1), Some(1)), "{}", metrics::text());
    }
}
