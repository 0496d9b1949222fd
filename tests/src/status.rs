//! Errors as clients read them.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The code and the reason of an error, such as `(NotFound, "ORDER_NOT_FOUND")`.
#[must_use]
pub fn code_and_reason(status: &Status) -> (Code, String) {
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    (status.code(), reason.unwrap_or_default())
}

/// A value of ErrorInfo's metadata.
#[must_use]
pub fn metadata(status: &Status, key: &str) -> Option<String> {
    status.get_error_details().error_info().and_then(|info| info.metadata.get(key).cloned())
}

/// The broken rules of BadRequest, each as `field REASON`.
#[must_use]
pub fn violations(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|violation| format!("{} {}", violation.field, violation.reason)).collect()
}

/// Whether the details that every error has are there: ErrorInfo of a service of ours, and RequestInfo.
#[must_use]
pub fn has_common_details(status: &Status) -> bool {
    let details = status.get_error_details();
    let ours = details.error_info().is_some_and(|info| info.domain.ends_with(".tristore"));
    ours && details.request_info().is_some_and(|info| !info.request_id.is_empty())
}
