//! How any call of any service can fail, whatever it is about. What a service refuses for reasons of its own domain is
//! beside the noun in its `domain/`.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What lies underneath a failure. It is for the log and never for a client.
pub type Cause = Box<dyn Error + Send + Sync>;

/// When a repeat makes sense while something is away.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One broken rule of a request's field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, such as `items[0].quantity`; empty when the rule is about no single field.
    pub field: String,
    /// The name of the rule, in capitals.
    pub reason: &'static str,
    /// What to change, for people.
    pub description: String,
}

/// Whether what failed took effect all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It did not, and will not.
    None,
    /// Nobody can say.
    Unknown,
}

impl Effect {
    /// As it is sent: the value of the key `effect` in the metadata of ErrorInfo.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "this call changed nothing",
            Self::Unknown => "whether this call took effect is unknown",
        })
    }
}

/// Why a call was not answered as its caller wanted. The texts are what a client reads: causes stay in the source.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Fields of the request break rules; all of them are listed. Nothing changed.
    #[error("the request breaks the rules of its fields")]
    Invalid(Vec<Violation>),
    /// The request id was used before, for another content. Nothing changed.
    #[error("this request_id was used before for another request")]
    RequestIdReused {
        /// The method, as in [`crate::RequestKey`].
        method: &'static str,
        /// The numbers of the request's fields that differ.
        fields: Vec<u32>,
    },
    /// The tries of this call are used up, and another one with the same request id may still be running.
    #[error("the first call with this request_id may still be running")]
    RequestInProgress,
    /// Concurrent changes got in the way, and nothing changed. Inside a transaction this means: try it again.
    #[error("too many concurrent changes; nothing changed")]
    Contention(#[source] Cause),
    /// More of something is wanted at once than the service lets in. Nothing changed.
    #[error("too many {what} at once; nothing was done")]
    Overloaded {
        /// Of what there is too much, such as `passwords`.
        what: &'static str,
        /// When to come back.
        retry_after: Duration,
    },
    /// A database, or a service that is needed, does not answer or cannot do it now.
    #[error("something that the call needs does not answer; {effect}")]
    Unavailable {
        /// When to come back.
        retry_after: Duration,
        /// Whether something changed.
        effect: Effect,
        /// What is away.
        #[source]
        source: Cause,
    },
    /// The database takes no writes: it is full, or read-only.
    #[error("the database takes no writes now; {effect}")]
    StorageUnavailable {
        /// Whether something changed.
        effect: Effect,
        /// What it says.
        #[source]
        source: Cause,
    },
    /// A defect, or data that nobody could have written.
    #[error("an internal error; report the request id")]
    Internal(#[source] Cause),
}

impl Failure {
    /// A concurrent change got in the way.
    pub fn contention(cause: impl Into<Cause>) -> Self {
        Self::Contention(cause.into())
    }

    /// Something that is needed does not answer, and whether something changed is unknown; a repeat makes sense after
    /// [`RETRY_AFTER`].
    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable { retry_after: RETRY_AFTER, effect: Effect::Unknown, source: cause.into() }
    }

    /// The database takes no writes, and refused this one before it changed anything.
    pub fn storage_unavailable(cause: impl Into<Cause>) -> Self {
        Self::StorageUnavailable { effect: Effect::None, source: cause.into() }
    }

    /// A defect.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// The same failure, of something that is known to have had this effect: none when nothing was sent, or when a
    /// transaction was not committed; unknown when an earlier step of the same call has changed something.
    #[must_use]
    pub fn with_effect(self, effect: Effect) -> Self {
        match self {
            Self::Unavailable { retry_after, source, .. } => {
                Self::Unavailable { retry_after, effect, source }
            }
            Self::StorageUnavailable { source, .. } => Self::StorageUnavailable { effect, source },
            other => other,
        }
    }

    /// Whether the same may work in a moment.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::RequestInProgress
            | Self::Contention(_)
            | Self::Overloaded { .. }
            | Self::Unavailable { .. }
            | Self::StorageUnavailable { .. } => true,
            Self::Invalid(_) | Self::RequestIdReused { .. } | Self::Internal(_) => false,
        }
    }
}

/// An error with all its causes on one line, for the log.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_reads_has_no_cause_and_what_the_log_reads_has_all() {
        let failures: [fn(&'static str) -> Failure; 4] = [
            |cause| Failure::contention(cause),
            |cause| Failure::unavailable(cause),
            |cause| Failure::storage_unavailable(cause),
            |cause| Failure::internal(cause),
        ];
        for failure in failures {
            let failure = failure("host 10.0.0.7 is down");
            assert!(!failure.to_string().contains("10.0.0.7"), "{failure}");
            assert_eq!(chain(&failure), format!("{failure}: host 10.0.0.7 is down"));
        }
    }

    #[test]
    fn a_failure_says_whether_something_changed() {
        let none = Failure::unavailable("away").with_effect(Effect::None);
        assert!(none.to_string().ends_with("this call changed nothing"), "{none}");
        let unknown = Failure::storage_unavailable("full").with_effect(Effect::Unknown);
        assert!(unknown.to_string().ends_with("is unknown"), "{unknown}");
    }
}
