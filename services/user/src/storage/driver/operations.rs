//! How long exchanges with the server take, by the command that they are.
//!
//! The driver tells of commands too, but clones each command and each answer to do so, which costs more than many of them.
//! What it calls an operation's type says the same. The later pages of a cursor are not counted: the driver does not say
//! whether it asked for one.

use std::any::type_name;
use std::sync::LazyLock;
use std::time::Instant;

use metrics::database::Operations;
use tracing::Span;
use tracing::field::Empty;
use types::{TRACES_ONLY, in_trace};

static OPERATIONS: LazyLock<Operations> = LazyLock::new(|| {
    Operations::of(
        "mongodb",
        &[
            "find",
            "insert",
            "update",
            "delete",
            "findAndModify",
            "aggregate",
            "bulkWrite",
            "runCommand",
            "commitTransaction",
            "abortTransaction",
        ],
    )
});

/// An exchange under way. It is counted when this is dropped, whether it was answered or given up.
#[derive(Debug)]
pub(super) struct Timed {
    command: &'static str,
    began: Instant,
    /// It ends with this.
    span: Span,
}

impl Timed {
    /// Of an operation of the driver; `None` for what is no exchange with the server by itself.
    pub(super) fn begin<O>() -> Option<Self> {
        let command = command_of(type_name::<O>())?;
        let span = in_trace(|| {
            tracing::info_span!(
                target: TRACES_ONLY, "command",
                otel.kind = "client", otel.name = command, otel.status_code = Empty,
                db.system.name = "mongodb", db.operation.name = command
            )
        });
        Some(Self { command, began: Instant::now(), span })
    }
}

impl Timed {
    /// It was not done, or that is not known.
    pub(super) fn failed(&self) {
        self.span.record("otel.status_code", "ERROR");
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        OPERATIONS.observe(self.command, self.began.elapsed());
    }
}

/// The command that an operation of the driver sends, by the path of its type.
fn command_of(path: &'static str) -> Option<&'static str> {
    let path = path.split('<').next().unwrap_or_default();
    if !path.starts_with("mongodb::action::") {
        return None;
    }
    Some(match path.rsplit("::").next().unwrap_or_default() {
        // They only prepare what the next operation sends.
        "StartSession" | "StartTransaction" => return None,
        "Find" | "FindOne" => "find",
        "InsertOne" | "InsertMany" => "insert",
        "Update" => "update",
        "Delete" => "delete",
        "FindOneAndUpdate" => "findAndModify",
        "Aggregate" | "CountDocuments" => "aggregate",
        "BulkWrite" => "bulkWrite",
        "RunCommand" => "runCommand",
        "CommitTransaction" => "commitTransaction",
        "AbortTransaction" => "abortTransaction",
        _ => metrics::OTHER,
    })
}

#[cfg(test)]
mod tests {
    use bson::Document;
    use mongodb::action::{
        AbortTransaction, Aggregate, CommitTransaction, Delete, Find, FindOne, FindOneAndUpdate, InsertOne,
        ListCollections, RunCommand, StartSession, Update,
    };

    use super::*;

    fn command<O>() -> Option<&'static str> {
        command_of(type_name::<O>())
    }

    #[test]
    fn each_operation_of_the_driver_is_a_command_of_the_server() {
        let all = [
            (command::<Find<'_, Document>>(), "find"),
            (command::<FindOne<'_, Document>>(), "find"),
            (command::<InsertOne<'_>>(), "insert"),
            (command::<Update<'_>>(), "update"),
            (command::<Delete<'_>>(), "delete"),
            (command::<FindOneAndUpdate<'_, Document>>(), "findAndModify"),
            (command::<Aggregate<'_>>(), "aggregate"),
            (command::<RunCommand<'_>>(), "runCommand"),
            (command::<CommitTransaction<'_>>(), "commitTransaction"),
            (command::<AbortTransaction<'_>>(), "abortTransaction"),
            (command::<ListCollections<'_>>(), "_OTHER"),
        ];
        for (found, expected) in all {
            assert_eq!(found, Some(expected));
        }
        assert_eq!([command::<std::future::Ready<()>>(), command::<StartSession<'_>>()], [None; 2]);
    }
}
