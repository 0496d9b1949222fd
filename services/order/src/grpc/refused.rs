//! How the tests of this folder read a refusal.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::error::Error;

/// Code, reason, and the subject of the detail.
pub(super) fn wire(error: impl Into<Error>) -> (Code, String, String) {
    let status = Status::from(error.into());
    let details = status.get_error_details();
    let info = details.error_info().expect("every status has ErrorInfo").clone();
    let subject = match (details.resource_info(), details.precondition_failure(), details.bad_request()) {
        (Some(resource), None, None) => format!("{} {}", resource.resource_type, resource.resource_name),
        (None, Some(failure), None) => {
            assert_eq!(failure.violations[0].r#type, info.reason);
            failure.violations[0].subject.clone()
        }
        (None, None, Some(bad)) => bad.field_violations[0].field.clone(),
        _ if details.retry_info().is_some() => "retry".to_owned(),
        _ => String::new(),
    };
    (status.code(), info.reason, subject)
}
