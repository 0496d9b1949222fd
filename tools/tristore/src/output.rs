//! Data on standard output, as a table or as JSON; everything else on standard error.

use std::cell::RefCell;
use std::io::{self, Write as _, stdout};

use anyhow::{Context, Result};
use api::causes::Causes;
use prost::{Message, Name};
use prost_reflect::DynamicMessage;
use runtime::doctor::Format;
use serde_json::Value;
use tonic::Status;
use tonic_types::StatusExt as _;

/// Prints data.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    /// The first failure to print. Nothing is printed after it.
    failed: RefCell<Option<io::Error>>,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, failed: RefCell::default() }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints an answer of a service as JSON, with the service's name.
    pub(crate) fn json<M: Message + Name>(&self, source: &str, message: &M) -> Result<()> {
        let mut value = json(message)?;
        if let Value::Object(fields) = &mut value {
            fields.insert("source".to_owned(), Value::String(source.to_owned()));
        }
        self.line(value);
        Ok(())
    }

    /// Prints rows below a header, each column as wide as its widest cell.
    pub(crate) fn table(&self, head: &[&str], rows: &[Vec<String>]) {
        for line in table(head, rows) {
            self.line(line);
        }
    }

    /// Prints one line.
    pub(crate) fn line(&self, line: impl std::fmt::Display) {
        let mut failed = self.failed.borrow_mut();
        if failed.is_none() {
            *failed = writeln!(stdout(), "{line}").err();
        }
    }

    /// Ends the output.
    ///
    /// # Errors
    /// When something could not be printed. A reader who has seen enough, such as `head`, is none.
    pub(crate) fn end(self) -> Result<()> {
        let flushed = stdout().flush().err();
        match self.failed.into_inner().or(flushed) {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).context("printing the result")
            }
            _ => Ok(()),
        }
    }
}

fn json<M: Message + Name>(message: &M) -> Result<Value> {
    let name = M::full_name();
    let descriptor =
        api::descriptor::pool().get_message_by_name(&name).with_context(|| format!("no message {name}"))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    Ok(serde_json::to_value(&dynamic)?)
}

fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(head.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines
}

/// Prints an error and, where a service gave one, its reason and the id to report.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("tristore: {}", Causes(error.as_ref()));
    if let Some(status) = error.downcast_ref::<Status>() {
        let details = status.get_error_details();
        if let Some(info) = details.error_info() {
            eprintln!("  reason {} ({})", info.reason, info.domain);
        }
        for violation in details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default()
        {
            eprintln!("  {}: {}", violation.field, violation.description);
        }
        if let Some(request) = details.request_info() {
            eprintln!("  trace {}", request.request_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [vec!["order".to_owned(), "7".to_owned()], vec!["session-00".to_owned(), "1234".to_owned()]];
        assert_eq!(
            table(&["stream", "head"], &rows),
            ["stream      head", "order       7", "session-00  1234"]
        );
    }

    #[test]
    fn json_has_the_fields_of_the_message() {
        let hold = api::user::v1::Hold { transfer_id: "x".to_owned(), state: 1, ..Default::default() };
        let expected = serde_json::json!({ "transferId": "x", "state": "STATE_HELD" });
        assert_eq!(json(&hold).unwrap(), expected);
    }
}
