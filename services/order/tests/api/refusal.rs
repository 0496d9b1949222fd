//! A refusal as its client sees it, whole.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Asserts code, reason and the one detail that says what it is about: a field path with its rule, a resource, or
/// the subject of a precondition.
#[track_caller]
pub(crate) fn assert_refused(status: &Status, code: Code, reason: &str, subjects: &[&str]) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{status:?}");
    assert_eq!(info.domain, order_service::DOMAIN);
    assert!(details.request_info().is_some(), "no RequestInfo: {status:?}");
    let mut found = Vec::new();
    if let Some(bad) = details.bad_request() {
        found.extend(
            bad.field_violations.iter().map(|violation| format!("{} {}", violation.field, violation.reason)),
        );
    }
    if let Some(resource) = details.resource_info() {
        found.push(format!("{} {}", resource.resource_type, resource.resource_name));
    }
    if let Some(failure) = details.precondition_failure() {
        assert!(failure.violations.iter().all(|violation| violation.r#type == reason));
        found.extend(failure.violations.iter().map(|violation| violation.subject.clone()));
    }
    assert_eq!(found, subjects, "{status:?}");
}

/// Whether the refusal is one that was given before.
pub(crate) fn is_replayed(status: &Status) -> bool {
    status.metadata().get("idempotent-replay").is_some_and(|value| value == "true")
}
