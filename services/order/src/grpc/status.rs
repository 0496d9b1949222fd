//! How each [`Error`] looks on the wire: the only file that names [`Code`].
#![deny(clippy::wildcard_enum_match_arm)]

use std::error::Error as StdError;

use api::common::v1::ErrorReason as Common;
use api::order::v1::ErrorReason;
use api::refusal::Refusal;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::FieldViolation;
use types::AMOUNT_MAX;

use crate::domain::Reason;
use crate::error::{Error, RETRY_AFTER};

/// The domain of this service's reasons.
pub(crate) const DOMAIN: &str = "order.tristore";

/// Metadata of an answer that was given before.
pub(super) const REPLAY: &str = "idempotent-replay";

/// What the client may read where the cause is nobody's business.
const UNAVAILABLE: &str = "something that the call needs does not answer; whether it took effect is unknown";
const INTERNAL: &str = "the service has a defect; report the request id of this answer";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        log(&error);
        let message = error.to_string();
        let common = |code, reason: Common, message: &str| Refusal::new(code, &reason, DOMAIN, message);
        let order = |code, reason: ErrorReason| Refusal::new(code, &reason, DOMAIN, message.as_str());
        let refusal = match error {
            Error::Invalid(violations) => {
                common(Code::InvalidArgument, Common::InvalidRequest, &message).bad_request(violations)
            }
            Error::RequestIdReused { method, fields } => {
                let names = api::fingerprint::field_names(method, &fields).join(",");
                common(Code::InvalidArgument, Common::RequestIdReused, &message)
                    .bad_request(vec![violation(
                        "request_id",
                        "REQUEST_ID_REUSED",
                        "must be new for a new request",
                    )])
                    .with("fields", names)
            }
            Error::Replayed(first) => {
                let mut status = Self::from(*first);
                status.metadata_mut().insert(REPLAY, MetadataValue::from_static("true"));
                return status;
            }
            Error::ProductNotFound(id) => {
                order(Code::NotFound, ErrorReason::ProductNotFound).resource("product", id.to_string())
            }
            Error::OrderNotFound(id) => {
                order(Code::NotFound, ErrorReason::OrderNotFound).resource("order", id.to_string())
            }
            Error::UserNotFound(id) => {
                order(Code::NotFound, ErrorReason::UserNotFound).resource("user", id.to_string())
            }
            Error::OutOfStock { product_id, quantity, stock } => {
                order(Code::FailedPrecondition, ErrorReason::OutOfStock)
                    .with("product_id", product_id.to_string())
                    .with("quantity", quantity.to_string())
                    .with("stock", stock.to_string())
                    .precondition(format!("products/{product_id}"), "order fewer, or try again later")
            }
            Error::SellerMismatch(product_id) => order(Code::FailedPrecondition, ErrorReason::SellerMismatch)
                .with("product_id", product_id.to_string())
                .precondition(format!("products/{product_id}"), "order the products of each merchant apart"),
            Error::CurrencyMismatch(product_id) => {
                order(Code::FailedPrecondition, ErrorReason::CurrencyMismatch)
                    .with("product_id", product_id.to_string())
                    .precondition(
                        format!("products/{product_id}"),
                        "order the products of each currency apart",
                    )
            }
            Error::TotalOverflow => common(Code::InvalidArgument, Common::InvalidRequest, &message)
                .bad_request(vec![violation(
                    "items",
                    "TOTAL_OVERFLOW",
                    &format!("must cost at most {AMOUNT_MAX} minor units together"),
                )]),
            Error::CustomerDeactivated(user_id) => {
                order(Code::FailedPrecondition, ErrorReason::CustomerDeactivated)
                    .with("user_id", user_id.to_string())
                    .precondition(format!("users/{user_id}"), "must be active")
            }
            Error::InvalidState { order_id, state } => {
                order(Code::FailedPrecondition, ErrorReason::InvalidState)
                    .with("state", state.as_str())
                    .precondition(format!("orders/{order_id}"), format!("is {state}"))
            }
            Error::PaymentPending(order_id) => order(Code::FailedPrecondition, ErrorReason::PaymentPending)
                .precondition(format!("orders/{order_id}"), "wait until the payment has ended"),
            Error::AccountNotFound(owner_id) => {
                order(Code::NotFound, ErrorReason::AccountNotFound).resource("account", owner_id.to_string())
            }
            Error::TransferNotFound(id) => {
                order(Code::NotFound, ErrorReason::TransferNotFound).resource("transfer", id.to_string())
            }
            Error::TransferCancelled { transfer_id, order_id, wallet_user_id, reason } => {
                let refusal = match reason {
                    Reason::UserNotFound => {
                        order(Code::NotFound, cancelled(reason)).resource("user", wallet_user_id.to_string())
                    }
                    Reason::InvalidState
                    | Reason::PaymentPending
                    | Reason::RefundExceedsPayment
                    | Reason::CurrencyMismatch => order(Code::FailedPrecondition, cancelled(reason))
                        .precondition(format!("orders/{order_id}"), message.as_str()),
                    Reason::InsufficientCredit
                    | Reason::BalanceLimit
                    | Reason::UserDeactivated
                    | Reason::TransferExpired
                    | Reason::CancelledByOperator => order(Code::FailedPrecondition, cancelled(reason))
                        .precondition(format!("transfers/{transfer_id}"), message.as_str()),
                };
                refusal.with("transfer_id", transfer_id.to_string())
            }
            Error::InProgress(transfer_id) => common(Code::Unavailable, Common::RequestInProgress, &message)
                .with("transfer_id", transfer_id.to_string())
                .retry_after(RETRY_AFTER),
            Error::AlreadyDecided(transfer_id) => {
                order(Code::FailedPrecondition, ErrorReason::AlreadyDecided)
                    .precondition(format!("transfers/{transfer_id}"), "must be undecided")
            }
            Error::TransferEnded { transfer_id, state } => {
                order(Code::FailedPrecondition, ErrorReason::InvalidState)
                    .with("state", state)
                    .precondition(format!("transfers/{transfer_id}"), format!("is {state}"))
            }
            Error::VersionMismatch(order_id) => common(Code::Aborted, Common::VersionMismatch, &message)
                .resource("order", order_id.to_string()),
            Error::Conflict(_) | Error::Contention => {
                common(Code::Aborted, Common::Contention, "too many concurrent changes; nothing changed")
                    .retry_after(RETRY_AFTER)
            }
            Error::Unavailable { retry_after, .. } => {
                common(Code::Unavailable, Common::DependencyUnavailable, UNAVAILABLE).retry_after(retry_after)
            }
            Error::StorageUnavailable(_) => {
                common(Code::Unavailable, Common::StorageUnavailable, &message).retry_after(RETRY_AFTER)
            }
            Error::Constraint { .. } | Error::Internal(_) => {
                common(Code::Internal, Common::Internal, INTERNAL)
            }
        };
        refusal.into_status()
    }
}

fn violation(field: &str, reason: &str, description: &str) -> FieldViolation {
    FieldViolation {
        field: field.to_owned(),
        description: description.to_owned(),
        reason: reason.to_owned(),
        localized_message: None,
    }
}

/// Why a transfer was cancelled, as the wire calls it.
const fn cancelled(reason: Reason) -> ErrorReason {
    match reason {
        Reason::InsufficientCredit => ErrorReason::InsufficientCredit,
        Reason::BalanceLimit => ErrorReason::BalanceLimit,
        Reason::UserNotFound => ErrorReason::UserNotFound,
        Reason::UserDeactivated => ErrorReason::UserDeactivated,
        Reason::TransferExpired => ErrorReason::TransferExpired,
        Reason::CancelledByOperator => ErrorReason::CancelledByOperator,
        Reason::InvalidState => ErrorReason::InvalidState,
        Reason::PaymentPending => ErrorReason::PaymentPending,
        Reason::RefundExceedsPayment => ErrorReason::RefundExceedsPayment,
        Reason::CurrencyMismatch => ErrorReason::CurrencyMismatch,
    }
}

/// Once, here, with all causes: what the client is not told.
fn log(error: &Error) {
    let chain = error as &dyn StdError;
    match error {
        Error::Constraint { .. } | Error::Internal(_) => tracing::error!(error = chain, "a call failed"),
        Error::Unavailable { .. } | Error::StorageUnavailable(_) => {
            tracing::warn!(error = chain, "a call could not be served");
        }
        Error::Replayed(_) => {}
        Error::Invalid(_)
        | Error::RequestIdReused { .. }
        | Error::ProductNotFound(_)
        | Error::OrderNotFound(_)
        | Error::UserNotFound(_)
        | Error::OutOfStock { .. }
        | Error::SellerMismatch(_)
        | Error::CurrencyMismatch(_)
        | Error::TotalOverflow
        | Error::CustomerDeactivated(_)
        | Error::InvalidState { .. }
        | Error::PaymentPending(_)
        | Error::VersionMismatch(_)
        | Error::AccountNotFound(_)
        | Error::TransferNotFound(_)
        | Error::TransferCancelled { .. }
        | Error::InProgress(_)
        | Error::AlreadyDecided(_)
        | Error::TransferEnded { .. }
        | Error::Conflict(_)
        | Error::Contention => tracing::debug!(error = chain, "a call was refused"),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;
    use types::{OrderId, ProductId, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::OrderState;

    /// Code, reason, and the subjects of the details.
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
        let (product, order) = (ProductId::from_uuid(uuid), OrderId::from_uuid(uuid));
        let user = UserId::from_uuid(uuid);
        let away = || std::io::Error::other("host 10.0.0.7 is down");
        for (error, code, reason, subject) in [
            (Error::ProductNotFound(product), Code::NotFound, "PRODUCT_NOT_FOUND", format!("product {uuid}")),
            (Error::OrderNotFound(order), Code::NotFound, "ORDER_NOT_FOUND", format!("order {uuid}")),
            (Error::UserNotFound(user), Code::NotFound, "USER_NOT_FOUND", format!("user {uuid}")),
            (
                Error::OutOfStock { product_id: product, quantity: 2, stock: 1 },
                Code::FailedPrecondition,
                "OUT_OF_STOCK",
                format!("products/{uuid}"),
            ),
            (
                Error::SellerMismatch(product),
                Code::FailedPrecondition,
                "SELLER_MISMATCH",
                format!("products/{uuid}"),
            ),
            (
                Error::CurrencyMismatch(product),
                Code::FailedPrecondition,
                "CURRENCY_MISMATCH",
                format!("products/{uuid}"),
            ),
            (Error::TotalOverflow, Code::InvalidArgument, "INVALID_REQUEST", "items".to_owned()),
            (
                Error::CustomerDeactivated(user),
                Code::FailedPrecondition,
                "CUSTOMER_DEACTIVATED",
                format!("users/{uuid}"),
            ),
            (
                Error::InvalidState { order_id: order, state: OrderState::Paid },
                Code::FailedPrecondition,
                "INVALID_STATE",
                format!("orders/{uuid}"),
            ),
            (
                Error::PaymentPending(order),
                Code::FailedPrecondition,
                "PAYMENT_PENDING",
                format!("orders/{uuid}"),
            ),
            (Error::AccountNotFound(user), Code::NotFound, "ACCOUNT_NOT_FOUND", format!("account {uuid}")),
            (
                Error::TransferNotFound(uuid.into()),
                Code::NotFound,
                "TRANSFER_NOT_FOUND",
                format!("transfer {uuid}"),
            ),
            (
                Error::AlreadyDecided(uuid.into()),
                Code::FailedPrecondition,
                "ALREADY_DECIDED",
                format!("transfers/{uuid}"),
            ),
            (
                Error::TransferEnded { transfer_id: uuid.into(), state: "completed" },
                Code::FailedPrecondition,
                "INVALID_STATE",
                format!("transfers/{uuid}"),
            ),
            (Error::VersionMismatch(order), Code::Aborted, "VERSION_MISMATCH", format!("order {uuid}")),
            (Error::Contention, Code::Aborted, "CONTENTION", "retry".to_owned()),
            (Error::Conflict(away().into()), Code::Aborted, "CONTENTION", "retry".to_owned()),
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
    fn why_a_transfer_was_cancelled_is_told_with_its_stored_name() {
        let uuid = Uuid::from_u128(1);
        for reason in Reason::ALL.iter().copied() {
            let (transfer_id, order_id) = (uuid.into(), OrderId::from_uuid(uuid));
            let wallet_user_id = UserId::from_uuid(uuid);
            let error = Error::TransferCancelled { transfer_id, order_id, wallet_user_id, reason };
            let (code, name, subject) = wire(error);
            assert_eq!(name, reason.as_str());
            let expected = match reason {
                Reason::UserNotFound => (Code::NotFound, "user "),
                Reason::InvalidState
                | Reason::PaymentPending
                | Reason::RefundExceedsPayment
                | Reason::CurrencyMismatch => (Code::FailedPrecondition, "orders/"),
                Reason::InsufficientCredit
                | Reason::BalanceLimit
                | Reason::UserDeactivated
                | Reason::TransferExpired
                | Reason::CancelledByOperator => (Code::FailedPrecondition, "transfers/"),
            };
            assert_eq!((code, subject), (expected.0, format!("{}{uuid}", expected.1)), "{name}");
        }
    }

    #[test]
    fn a_running_transfer_is_named_so_that_it_can_be_watched() {
        let uuid = Uuid::from_u128(1);
        let status = Status::from(Error::InProgress(uuid.into()));
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str()), (Code::Unavailable, "REQUEST_IN_PROGRESS"));
        assert_eq!(info.metadata["transfer_id"], uuid.to_string());
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(RETRY_AFTER));
    }

    #[test]
    fn a_reused_request_id_names_the_fields_that_differ() {
        let method = "order.v1.OrderService/CancelOrder";
        let status = Status::from(Error::RequestIdReused { method, fields: vec![2, 3] });
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["fields"], "order_id,etag");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "request_id");
        assert_eq!(status.code(), Code::InvalidArgument);
    }

    #[test]
    fn a_replayed_refusal_is_the_first_one_and_says_that_it_is_a_replay() {
        let first = || Error::OutOfStock {
            product_id: ProductId::from_uuid(Uuid::from_u128(1)),
            quantity: 2,
            stock: 1,
        };
        let replayed = Status::from(Error::Replayed(Box::new(first())));
        let status = Status::from(first());
        assert_eq!((replayed.code(), replayed.message()), (status.code(), status.message()));
        assert_eq!(replayed.metadata().get(REPLAY).unwrap(), "true");
        assert!(status.metadata().get(REPLAY).is_none());
    }

    #[test]
    fn causes_stay_inside() {
        for error in [Error::unavailable("host 10.0.0.7"), Error::internal("host 10.0.0.7")] {
            let status = Status::from(error);
            assert!(!format!("{status:?}").contains("10.0.0.7"), "{status:?}");
        }
    }
}
