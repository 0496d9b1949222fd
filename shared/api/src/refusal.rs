//! A status with the details of AIP-193: built in one place, so that every service's errors look alike.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};
use types::{Failure, RETRY_AFTER, Violation};

use crate::common::v1::ErrorReason;
use crate::{call, common, event, fingerprint, order, session, user};

/// The key in ErrorInfo's metadata that tells whether a call took effect: `none` or `unknown`.
pub const EFFECT: &str = "effect";

/// A reason of one of the packages' `ErrorReason` enums.
pub trait Reason {
    /// The reason as it is sent: without the prefix `ERROR_REASON_`.
    fn wire_name(&self) -> &'static str;
}

macro_rules! reason {
    ($($package:ident),*) => {$(
        impl Reason for $package::v1::ErrorReason {
            fn wire_name(&self) -> &'static str {
                let name = self.as_str_name();
                name.strip_prefix("ERROR_REASON_").unwrap_or(name)
            }
        }
    )*};
}

reason!(common, event, order, session, user);

/// The wire form of a service's errors. The message is the error's own text, which must not contain the cause; the
/// cause is the error's source, which only goes to the log.
pub trait Refused: Error + Send + Sync + 'static {
    /// The code, the reason and the details.
    fn refusal(&self) -> Refusal;

    /// Whether it repeats what an earlier call with the same request id was refused with.
    fn is_replay(&self) -> bool {
        false
    }
}

impl Refused for Failure {
    fn refusal(&self) -> Refusal {
        self.into()
    }
}

/// The status of an error. The error goes along as the status' source, which the server logs once and never sends.
pub fn status(error: impl Refused) -> Status {
    let mut status = error.refusal().into_status();
    if error.is_replay() {
        call::mark_replay(status.metadata_mut());
    }
    status.set_source(Arc::new(error));
    status
}

/// The metadata key of a status whose cause is in the log already. It never leaves the server.
pub const LOGGED: &str = "x-logged";

/// Marks a status whose cause its maker has logged, so that the server does not log it again. Needed only where a
/// status cannot carry its source to the server: in the middle of a stream, and for errors that several calls share.
#[must_use]
pub fn logged(mut status: Status) -> Status {
    status.metadata_mut().insert(LOGGED, MetadataValue::from_static("1"));
    status
}

/// A status in the making.
#[derive(Debug)]
pub struct Refusal {
    code: Code,
    message: String,
    reason: &'static str,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl From<&Failure> for Refusal {
    fn from(failure: &Failure) -> Self {
        let refuse = |code, reason: ErrorReason| Self::new(code, &reason, failure.to_string());
        match failure {
            Failure::Invalid(violations) => {
                refuse(Code::InvalidArgument, ErrorReason::InvalidRequest).bad_request(violations)
            }
            Failure::RequestIdReused { method, fields } => {
                let refusal =
                    refuse(Code::InvalidArgument, ErrorReason::RequestIdReused).bad_request(&[Violation {
                        field: "request_id".to_owned(),
                        reason: ErrorReason::RequestIdReused.wire_name(),
                        description: "must be new for a new request".to_owned(),
                    }]);
                let names = fingerprint::field_names(method, fields).join(",");
                if names.is_empty() { refusal } else { refusal.with("fields", names) }
            }
            Failure::RequestInProgress => {
                refuse(Code::Unavailable, ErrorReason::RequestInProgress).retry_after(RETRY_AFTER)
            }
            Failure::Contention(_) => refuse(Code::Aborted, ErrorReason::Contention).retry_after(RETRY_AFTER),
            Failure::Overloaded { what, retry_after } => {
                refuse(Code::ResourceExhausted, ErrorReason::Overloaded)
                    .quota(*what, failure.to_string())
                    .retry_after(*retry_after)
            }
            Failure::Unavailable { retry_after, effect, .. } => {
                refuse(Code::Unavailable, ErrorReason::DependencyUnavailable)
                    .with(EFFECT, effect.as_str())
                    .retry_after(*retry_after)
            }
            Failure::StorageUnavailable { effect, .. } => {
                refuse(Code::Unavailable, ErrorReason::StorageUnavailable)
                    .with(EFFECT, effect.as_str())
                    .retry_after(RETRY_AFTER)
            }
            Failure::Internal(_) => refuse(Code::Internal, ErrorReason::Internal),
        }
    }
}

impl Refusal {
    /// A refusal with a code, a reason and a sentence for people. What varies in the sentence must also be given by
    /// [`Refusal::with`]. The server adds its domain to the reason.
    pub fn new(code: Code, reason: &impl Reason, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            reason: reason.wire_name(),
            metadata: HashMap::new(),
            details: ErrorDetails::new(),
        }
    }

    /// Adds a key to ErrorInfo's metadata.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Adds `google.rpc.BadRequest`.
    #[must_use]
    pub fn bad_request(mut self, violations: &[Violation]) -> Self {
        let violations = violations.iter().map(|violation| FieldViolation {
            field: violation.field.clone(),
            description: violation.description.clone(),
            reason: violation.reason.to_owned(),
            localized_message: None,
        });
        self.details.set_bad_request(violations.collect::<Vec<_>>());
        self
    }

    /// Adds `google.rpc.ResourceInfo`.
    #[must_use]
    pub fn resource(mut self, kind: &str, id: impl Into<String>) -> Self {
        self.details.set_resource_info(kind, id.into(), "", "");
        self
    }

    /// Adds one violation to `google.rpc.PreconditionFailure`, of the reason's kind.
    #[must_use]
    pub fn precondition(mut self, subject: impl Into<String>, description: impl Into<String>) -> Self {
        self.details.add_precondition_failure_violation(self.reason, subject.into(), description.into());
        self
    }

    /// Adds one violation to `google.rpc.QuotaFailure`.
    #[must_use]
    pub fn quota(mut self, subject: impl Into<String>, description: impl Into<String>) -> Self {
        self.details.add_quota_failure_violation(subject.into(), description.into());
        self
    }

    /// Adds `google.rpc.RetryInfo`.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    /// The code and the reason.
    #[must_use]
    pub fn outcome(&self) -> (Code, &'static str) {
        (self.code, self.reason)
    }

    /// The status. The server's outermost layer adds the domain, and the RequestInfo with the trace.
    #[must_use]
    pub fn into_status(mut self) -> Status {
        self.details.set_error_info(self.reason, "", self.metadata);
        Status::with_error_details(self.code, self.message, self.details)
    }
}

#[cfg(test)]
mod tests {
    use types::Effect;

    use super::*;

    /// Code, reason, and the details that tell what it is about.
    fn wire(failure: Failure) -> (Code, String, Vec<&'static str>) {
        let status = status(failure);
        let details = status.get_error_details();
        let reason = details.error_info().expect("every status has ErrorInfo").reason.clone();
        let mut kinds = Vec::new();
        kinds.extend(details.bad_request().map(|_| "bad request"));
        kinds.extend(details.quota_failure().map(|_| "quota"));
        kinds.extend(details.retry_info().map(|_| "retry"));
        (status.code(), reason, kinds)
    }

    #[test]
    fn every_failure_has_its_code_reason_and_details() {
        let overloaded = Failure::Overloaded { what: "passwords", retry_after: RETRY_AFTER };
        let reused = Failure::RequestIdReused { method: "", fields: Vec::new() };
        let violation = Violation { field: "name".to_owned(), reason: "BLANK", description: String::new() };
        for (failure, code, reason, kinds) in [
            (
                Failure::Invalid(vec![violation]),
                Code::InvalidArgument,
                "INVALID_REQUEST",
                vec!["bad request"],
            ),
            (reused, Code::InvalidArgument, "REQUEST_ID_REUSED", vec!["bad request"]),
            (Failure::RequestInProgress, Code::Unavailable, "REQUEST_IN_PROGRESS", vec!["retry"]),
            (Failure::contention("away"), Code::Aborted, "CONTENTION", vec!["retry"]),
            (overloaded, Code::ResourceExhausted, "OVERLOADED", vec!["quota", "retry"]),
            (Failure::unavailable("away"), Code::Unavailable, "DEPENDENCY_UNAVAILABLE", vec!["retry"]),
            (Failure::storage_unavailable("full"), Code::Unavailable, "STORAGE_UNAVAILABLE", vec!["retry"]),
            (Failure::internal("a defect"), Code::Internal, "INTERNAL", vec![]),
        ] {
            let text = failure.to_string();
            assert_eq!(wire(failure), (code, reason.to_owned(), kinds), "{text}");
        }
    }

    #[test]
    fn a_reused_request_id_names_the_fields_that_differ_and_never_their_values() {
        let method = "user.v1.UserService/CreateUser";
        let status = status(Failure::RequestIdReused { method, fields: vec![3, 4] });
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["fields"], "display_name,password");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "request_id");
    }

    #[test]
    fn the_cause_goes_along_for_the_log_and_is_not_sent() {
        let status = status(Failure::unavailable("host 10.0.0.7 is down"));
        let sent = format!("{} {:?}", status.message(), status.get_error_details());
        assert!(!sent.contains("10.0.0.7"), "{sent}");
        let source = Error::source(&status).expect("the error is the status' source");
        assert!(types::chain(source).contains("10.0.0.7"));
    }

    #[test]
    fn what_is_away_says_whether_the_call_took_effect() {
        for (failure, told) in [
            (Failure::unavailable("away"), "unknown"),
            (Failure::unavailable("away").with_effect(Effect::None), "none"),
            (Failure::storage_unavailable("full"), "none"),
            (Failure::storage_unavailable("full").with_effect(Effect::Unknown), "unknown"),
        ] {
            let status = status(failure);
            assert_eq!(status.get_error_details().error_info().unwrap().metadata[EFFECT], told);
        }
    }
}
