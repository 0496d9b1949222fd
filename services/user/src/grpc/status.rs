//! How each [`Error`] looks on the wire: the only file that names [`Code`]. The cause of a fault of ours goes along as
//! the status' source, which the server logs once and never sends.
#![deny(clippy::wildcard_enum_match_arm)]

use std::sync::Arc;

use api::common::v1::ErrorReason as Common;
use api::refusal::Refusal;
use api::user::v1::ErrorReason;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::FieldViolation;

use super::call::REPLAY;
use crate::error::{Error, RETRY_AFTER};

/// The domain of this service's reasons.
pub(crate) const DOMAIN: &str = "user.tristore";

const UNAVAILABLE: &str = "something that the call needs does not answer; whether it took effect is unknown";
const READ_ONLY: &str = "the database takes no writes now";
const INTERNAL: &str = "an internal error; report the request id";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut status = refusal(&error).into_status();
        if matches!(error, Error::Replayed(_)) {
            status.metadata_mut().insert(REPLAY, MetadataValue::from_static("true"));
        }
        status.set_source(Arc::new(error));
        status
    }
}

fn refusal(error: &Error) -> Refusal {
    let text = error.to_string();
    let common = |code, reason: Common, message: &str| Refusal::new(code, &reason, DOMAIN, message);
    let user = |code, reason: ErrorReason| Refusal::new(code, &reason, DOMAIN, text.as_str());
    match error {
        Error::Invalid(violations) => {
            common(Code::InvalidArgument, Common::InvalidRequest, &text).bad_request(violations.clone())
        }
        Error::UserNotFound(id) => {
            user(Code::NotFound, ErrorReason::UserNotFound).resource("user", id.to_string())
        }
        Error::PostNotFound(id) => {
            user(Code::NotFound, ErrorReason::PostNotFound).resource("post", id.to_string())
        }
        Error::HoldNotFound(id) => {
            user(Code::NotFound, ErrorReason::HoldNotFound).resource("hold", id.to_string())
        }
        // The address is not repeated: it is contact data.
        Error::EmailTaken => user(Code::AlreadyExists, ErrorReason::EmailTaken).resource("user", ""),
        Error::UserDeactivated(id) => user(Code::FailedPrecondition, ErrorReason::UserDeactivated)
            .with("user_id", id.to_string())
            .precondition(format!("users/{id}"), "must be active"),
        Error::OwnRole => user(Code::FailedPrecondition, ErrorReason::OwnRole)
            .precondition("role", "another admin has to change it"),
        Error::InsufficientCredit { owner, available } => {
            user(Code::FailedPrecondition, ErrorReason::InsufficientCredit)
                .with("available_minor_units", available.minor_units.to_string())
                .with("currency_code", available.currency.code())
                .precondition(format!("users/{owner}/wallets/{}", available.currency), "needs more credit")
        }
        Error::BalanceLimit(id) => user(Code::FailedPrecondition, ErrorReason::BalanceLimit)
            .with("user_id", id.to_string())
            .precondition(format!("users/{id}"), "cannot hold that much credit"),
        Error::NotPostAuthor(id) => {
            user(Code::PermissionDenied, ErrorReason::NotPostAuthor).with("post_id", id.to_string())
        }
        Error::InvalidCredentials => common(Code::Unauthenticated, Common::InvalidCredentials, &text),
        Error::VersionMismatch { resource, id } => {
            common(Code::Aborted, Common::VersionMismatch, &text).resource(resource, id.as_str())
        }
        Error::RequestIdReused { method, fields } => {
            common(Code::InvalidArgument, Common::RequestIdReused, &text)
                .bad_request(vec![FieldViolation {
                    field: "request_id".to_owned(),
                    description: "must be new for a new request".to_owned(),
                    reason: "REQUEST_ID_REUSED".to_owned(),
                    localized_message: None,
                }])
                .with("fields", api::fingerprint::field_names(method, fields).join(","))
        }
        Error::Overloaded { retry_after } => common(Code::ResourceExhausted, Common::Overloaded, &text)
            .quota("passwords", "too many are being hashed")
            .retry_after(*retry_after),
        Error::Replayed(first) => refusal(first),
        Error::RequestInProgress => {
            common(Code::Unavailable, Common::RequestInProgress, &text).retry_after(RETRY_AFTER)
        }
        Error::Contention => {
            common(Code::Aborted, Common::Contention, "too many conflicting changes; nothing changed")
                .retry_after(RETRY_AFTER)
        }
        Error::Unavailable { retry_after, .. } => {
            common(Code::Unavailable, Common::DependencyUnavailable, UNAVAILABLE).retry_after(*retry_after)
        }
        Error::StorageUnavailable(_) => {
            common(Code::Unavailable, Common::StorageUnavailable, READ_ONLY).retry_after(RETRY_AFTER)
        }
        Error::Internal(_) => common(Code::Internal, Common::Internal, INTERNAL),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;
    use types::{Money, PostId, TransferId, UserId};
    use uuid::Uuid;

    use super::*;

    /// Code, reason, and the subject of the detail that tells what it is about.
    fn wire(error: Error) -> (Code, String, String) {
        let status = Status::from(error);
        let details = status.get_error_details();
        let info = details.error_info().expect("every status has ErrorInfo").clone();
        assert_eq!(info.domain, DOMAIN);
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

    #[test]
    fn every_outcome_has_its_code_reason_and_detail() {
        let uuid = Uuid::from_u128(1);
        let (user, post) = (UserId::from_uuid(uuid), PostId::from_uuid(uuid));
        let away = || std::io::Error::other("host 10.0.0.7 is down");
        let available = Money::new("EUR".parse().unwrap(), 5);
        for (error, code, reason, subject) in [
            (Error::UserNotFound(user), Code::NotFound, "USER_NOT_FOUND", format!("user {uuid}")),
            (Error::PostNotFound(post), Code::NotFound, "POST_NOT_FOUND", format!("post {uuid}")),
            (
                Error::HoldNotFound(TransferId::from_uuid(uuid)),
                Code::NotFound,
                "HOLD_NOT_FOUND",
                format!("hold {uuid}"),
            ),
            (Error::EmailTaken, Code::AlreadyExists, "EMAIL_TAKEN", "user ".to_owned()),
            (
                Error::UserDeactivated(user),
                Code::FailedPrecondition,
                "USER_DEACTIVATED",
                format!("users/{uuid}"),
            ),
            (Error::OwnRole, Code::FailedPrecondition, "OWN_ROLE", "role".to_owned()),
            (
                Error::InsufficientCredit { owner: user, available },
                Code::FailedPrecondition,
                "INSUFFICIENT_CREDIT",
                format!("users/{uuid}/wallets/EUR"),
            ),
            (Error::BalanceLimit(user), Code::FailedPrecondition, "BALANCE_LIMIT", format!("users/{uuid}")),
            (Error::NotPostAuthor(post), Code::PermissionDenied, "NOT_POST_AUTHOR", String::new()),
            (Error::InvalidCredentials, Code::Unauthenticated, "INVALID_CREDENTIALS", String::new()),
            (
                Error::VersionMismatch { resource: "post", id: "7".to_owned() },
                Code::Aborted,
                "VERSION_MISMATCH",
                "post 7".to_owned(),
            ),
            (
                Error::Overloaded { retry_after: RETRY_AFTER },
                Code::ResourceExhausted,
                "OVERLOADED",
                "retry".to_owned(),
            ),
            (Error::Contention, Code::Aborted, "CONTENTION", "retry".to_owned()),
            (Error::RequestInProgress, Code::Unavailable, "REQUEST_IN_PROGRESS", "retry".to_owned()),
            (Error::unavailable(away()), Code::Unavailable, "DEPENDENCY_UNAVAILABLE", "retry".to_owned()),
            (
                Error::StorageUnavailable(away().into()),
                Code::Unavailable,
                "STORAGE_UNAVAILABLE",
                "retry".to_owned(),
            ),
            (Error::internal(away()), Code::Internal, "INTERNAL", String::new()),
        ] {
            let text = error.to_string();
            assert_eq!(wire(error), (code, reason.to_owned(), subject), "{text}");
        }
    }

    #[test]
    fn a_refusal_that_is_told_again_is_the_same_but_for_its_mark() {
        let first = || Error::BalanceLimit(UserId::from_uuid(Uuid::from_u128(1)));
        let (status, again) = (Status::from(first()), Status::from(Error::Replayed(Box::new(first()))));
        assert_eq!((again.code(), again.message()), (status.code(), status.message()));
        assert_eq!(again.details(), status.details());
        assert_eq!(again.metadata().get(REPLAY).unwrap(), "true");
        assert!(status.metadata().get(REPLAY).is_none());
    }

    #[test]
    fn a_reused_request_id_names_the_fields_that_differ_and_never_their_values() {
        let method = "user.v1.UserService/CreateUser";
        let status = Status::from(Error::RequestIdReused { method, fields: vec![3, 4] });
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["fields"], "display_name,password");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "request_id");
        assert_eq!(status.code(), Code::InvalidArgument);
    }

    #[test]
    fn causes_stay_inside() {
        for error in [Error::unavailable("host 10.0.0.7"), Error::internal("host 10.0.0.7")] {
            let status = Status::from(error);
            let sent = format!("{} {:?}", status.message(), status.get_error_details());
            assert!(!sent.contains("10.0.0.7"), "{sent}");
        }
    }
}
