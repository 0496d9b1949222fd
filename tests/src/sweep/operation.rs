//! Something that a caller wants to happen once, and the caller who repeats it until the answer is definite.

use std::ops::RangeInclusive;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::wait_until;
use tonic::{Code, Status};

use crate::status::{code_and_reason, has_common_details};

const ANSWERED_WITHIN: Duration = Duration::from_secs(90);

/// A future that a trait object gives; it stays on its thread.
pub(super) type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What can be counted of an operation's effects.
pub(super) type Measures = Vec<(&'static str, i64)>;

/// How much one effect changes a measure; what is not named does not change.
pub(super) type Changes = Vec<(&'static str, RangeInclusive<i64>)>;

/// An operation whose effect must happen once.
pub(super) trait Operation {
    /// Calls it, each time with the same request.
    fn call(&self) -> Doing<'_, Result<String, Status>>;

    /// Counts what its effect changes, besides the events of each stream.
    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async { Ok(Measures::new()) })
    }

    /// What one effect changes.
    fn effect(&self) -> Changes {
        Changes::new()
    }

    /// The reason with which it is refused, if it is to be refused.
    fn refusal(&self) -> Option<&'static str> {
        None
    }

    /// The part of the point, if that depends on the user.
    fn part(&self) -> Option<String> {
        None
    }

    /// Undoes what it needed to reach its point, whether the case has passed or not.
    fn finish(&self) -> Doing<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

/// A definite answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Done(String),
    Refused(Code, String),
}

/// Repeats an operation until its answer is definite, as proto/README.md tells callers to.
pub(super) async fn answer(operation: &dyn Operation) -> Result<Answer> {
    wait_until(ANSWERED_WITHIN, "a definite answer", async || match operation.call().await {
        Ok(done) => Ok(Answer::Done(done)),
        Err(status) if is_definite(&status) => {
            let (code, reason) = code_and_reason(&status);
            Ok(Answer::Refused(code, reason))
        }
        Err(status) => Err(status),
    })
    .await
}

/// Whether an error says for certain that nothing has happened and nothing will. Only a status of our services can.
fn is_definite(status: &Status) -> bool {
    let open = [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Cancelled,
        Code::Unknown,
        Code::Internal,
        Code::DataLoss,
        Code::Aborted,
    ];
    has_common_details(status) && !open.contains(&status.code())
}

/// Fails unless the operation was done, or was refused for the reason that it should be.
pub(super) fn check_answer(operation: &dyn Operation, answer: &Answer) -> Result<()> {
    let right = match (operation.refusal(), answer) {
        (None, Answer::Done(_)) => true,
        (Some(expected), Answer::Refused(_, reason)) => reason == expected,
        _ => false,
    };
    ensure!(right, "the answer is {answer:?}, not {:?}", operation.refusal().unwrap_or("OK"));
    Ok(())
}

/// Fails unless two counts differ by exactly one effect.
pub(super) fn check_effect(before: &Measures, after: &Measures, expected: &Changes) -> Result<()> {
    for ((name, before), (same, after)) in before.iter().zip(after) {
        ensure!(name == same, "{name} and {same} are not the same measure");
        let change = after - before;
        let wanted = expected.iter().find(|(whose, _)| whose == name).map_or(0..=0, |(_, by)| by.clone());
        ensure!(wanted.contains(&change), "{name} changed by {change}, one effect changes it by {wanted:?}");
    }
    for (name, _) in expected {
        ensure!(after.iter().any(|(measured, _)| measured == name), "{name} is not measured");
    }
    Ok(())
}

/// A change by exactly this much.
pub(super) fn by(change: i64) -> RangeInclusive<i64> {
    change..=change
}
