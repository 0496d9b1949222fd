//! A status with the details of AIP-193: built in one place, so that every service's errors look alike.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::{common, event, order, session, user};

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

/// A status in the making.
#[derive(Debug)]
pub struct Refusal {
    code: Code,
    message: String,
    reason: &'static str,
    domain: &'static str,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl Refusal {
    /// A refusal with a code, a reason and a sentence for people. `domain` is the service, such as
    /// `order.tristore`. What varies in the sentence belongs into [`Refusal::with`] too.
    pub fn new(code: Code, reason: &impl Reason, domain: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            reason: reason.wire_name(),
            domain,
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
    pub fn bad_request(mut self, violations: Vec<FieldViolation>) -> Self {
        self.details.set_bad_request(violations);
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

    /// The status. Its RequestInfo is added by the server's outermost layer, which knows the trace.
    #[must_use]
    pub fn into_status(mut self) -> Status {
        self.details.set_error_info(self.reason, self.domain, self.metadata);
        Status::with_error_details(self.code, self.message, self.details)
    }
}
