//! Outcomes as statuses: the only file that names codes.
#![deny(clippy::wildcard_enum_match_arm)]

use api::common::v1::ErrorReason as Common;
use api::refusal::Refusal;
use api::session::v1::ErrorReason;
use api::violations::Violations;
use tonic::{Code, Status};

use super::DOMAIN;
use crate::error::Error;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        log(&error);
        let said = error.to_string();
        let refusal = |code, reason: Common| Refusal::new(code, &reason, DOMAIN, said.clone());
        let own = |code, reason: ErrorReason| Refusal::new(code, &reason, DOMAIN, said.clone());
        let refusal = match error {
            Error::Invalid(violations) => {
                refusal(Code::InvalidArgument, Common::InvalidRequest).bad_request(violations)
            }
            Error::InvalidCredentials => refusal(Code::Unauthenticated, Common::InvalidCredentials),
            Error::LoginThrottled { retry_after } => {
                own(Code::ResourceExhausted, ErrorReason::LoginThrottled)
                    .quota("login", "failed logins of this address, or from where the call comes")
                    .retry_after(retry_after)
            }
            Error::Overloaded { retry_after } => refusal(Code::ResourceExhausted, Common::Overloaded)
                .quota("passwords", "too many passwords are being checked")
                .retry_after(retry_after),
            Error::SessionNotFound { session_id } => own(Code::NotFound, ErrorReason::SessionNotFound)
                .with("session_id", session_id.clone())
                .resource("session", session_id),
            Error::PermissionDenied => refusal(Code::PermissionDenied, Common::PermissionDenied),
            Error::RequestIdReused { fields, method } => {
                let mut violations = Violations::new();
                violations.add("request_id", "REQUEST_ID_REUSED", "was used before for another content");
                let violations = violations.finish(None::<()>).err().unwrap_or_default();
                refusal(Code::InvalidArgument, Common::RequestIdReused)
                    .bad_request(violations)
                    .with("fields", api::fingerprint::field_names(method, &fields).join(","))
            }
            Error::Contention => refusal(Code::Aborted, Common::Contention),
            Error::Unavailable { retry_after, source: _ } => {
                refusal(Code::Unavailable, Common::DependencyUnavailable).retry_after(retry_after)
            }
            Error::StorageUnavailable { source: _ } => {
                refusal(Code::Unavailable, Common::StorageUnavailable).retry_after(crate::error::RETRY_AFTER)
            }
            Error::Internal(_) => Refusal::new(
                Code::Internal,
                &Common::Internal,
                DOMAIN,
                "an internal error; report the request id",
            ),
        };
        // Its cause is in the log.
        runtime::server::logged(refusal.into_status())
    }
}

/// Causes are for the log only: they name hosts.
fn log(error: &Error) {
    let cause = error as &dyn std::error::Error;
    match error {
        Error::Internal(_) => tracing::error!(error = cause, "a call failed"),
        Error::Unavailable { .. } | Error::StorageUnavailable { .. } => {
            tracing::warn!(error = cause, "a call was not answered");
        }
        Error::Invalid(_)
        | Error::InvalidCredentials
        | Error::LoginThrottled { .. }
        | Error::Overloaded { .. }
        | Error::SessionNotFound { .. }
        | Error::PermissionDenied
        | Error::RequestIdReused { .. }
        | Error::Contention => tracing::debug!(error = cause, "a call was refused"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn every_outcome_has_its_code_and_reason() {
        let source = || "redis://:s3cret@host refused".into();
        for (error, code, reason) in [
            (Error::Invalid(Vec::new()), Code::InvalidArgument, "INVALID_REQUEST"),
            (Error::InvalidCredentials, Code::Unauthenticated, "INVALID_CREDENTIALS"),
            (
                Error::LoginThrottled { retry_after: Duration::ZERO },
                Code::ResourceExhausted,
                "LOGIN_THROTTLED",
            ),
            (Error::Overloaded { retry_after: Duration::ZERO }, Code::ResourceExhausted, "OVERLOADED"),
            (Error::SessionNotFound { session_id: String::new() }, Code::NotFound, "SESSION_NOT_FOUND"),
            (Error::PermissionDenied, Code::PermissionDenied, "PERMISSION_DENIED"),
            (
                Error::RequestIdReused { fields: Vec::new(), method: "" },
                Code::InvalidArgument,
                "REQUEST_ID_REUSED",
            ),
            (Error::Contention, Code::Aborted, "CONTENTION"),
            (
                Error::Unavailable { retry_after: Duration::ZERO, source: source() },
                Code::Unavailable,
                "DEPENDENCY_UNAVAILABLE",
            ),
            (Error::StorageUnavailable { source: source() }, Code::Unavailable, "STORAGE_UNAVAILABLE"),
            (Error::Internal(source()), Code::Internal, "INTERNAL"),
        ] {
            let status = Status::from(error);
            let info = status.get_details_error_info().unwrap();
            assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, DOMAIN));
            assert!(!status.message().contains("s3cret"), "{}", status.message());
        }
    }

    #[test]
    fn a_reused_request_id_names_the_fields_that_differ() {
        let method = "session.v1.SessionService/RevokeSession";
        let status = Status::from(Error::RequestIdReused { fields: vec![2, 3], method });
        assert_eq!(status.get_details_error_info().unwrap().metadata["fields"], "session_id,user_id");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "request_id");
    }
}
