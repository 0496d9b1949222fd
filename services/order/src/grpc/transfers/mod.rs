//! Transfers: `order.v1.TransferService` and its refusals.

mod convert;

use api::common::v1::ErrorReason as CommonReason;
use api::order::v1::transfer_service_server::TransferService;
use api::order::v1::{
    CancelTransferRequest, CancelTransferResponse, ErrorReason, ExplainTransferRequest,
    ExplainTransferResponse, GetDecisionRequest, GetDecisionResponse, GetTransferRequest,
    GetTransferResponse, PayOrderRequest, PayOrderResponse, RefundOrderRequest, RefundOrderResponse,
    RetryTransferRequest, RetryTransferResponse, WatchTransferRequest, WatchTransferResponse,
};
use api::refusal::Refusal;
use futures_util::TryStreamExt as _;
use runtime::rpc::{self, Messages, accept, check, person, respond};
use tonic::{Code, Request, Response, Status};
use types::RETRY_AFTER;

use self::convert::{get_decision, refund_order};
use crate::app::App;
use crate::domain::{Reason, TransferRefused};

pub(super) use self::convert::decision;

/// The transfers.
#[derive(Clone)]
pub(super) struct Transfers(pub(super) App);

#[tonic::async_trait]
impl TransferService for Transfers {
    async fn pay_order(
        &self,
        request: Request<PayOrderRequest>,
    ) -> Result<Response<PayOrderResponse>, Status> {
        let caller = person(&request)?;
        let (call, order_id) = accept(&request, |v, request| v.id("order_id", &request.order_id))?;
        let answer = self.0.pay_order(&call, caller, order_id).await?;
        Ok(respond(answer, |settled| PayOrderResponse {
            transfer: Some(settled.transfer.into()),
            order: Some(settled.order.into()),
        }))
    }

    async fn refund_order(
        &self,
        request: Request<RefundOrderRequest>,
    ) -> Result<Response<RefundOrderResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, refund_order)?);
        let answer = self.0.refund_order(&call, caller, wish).await?;
        Ok(respond(answer, |settled| RefundOrderResponse {
            transfer: Some(settled.transfer.into()),
            order: Some(settled.order.into()),
        }))
    }

    async fn get_transfer(
        &self,
        request: Request<GetTransferRequest>,
    ) -> Result<Response<GetTransferResponse>, Status> {
        let caller = person(&request)?;
        let id = check(&request, |v, request| v.id("transfer_id", &request.transfer_id))?;
        let transfer = self.0.get_transfer(caller, id).await?;
        Ok(Response::new(GetTransferResponse { transfer: Some(transfer.into()) }))
    }

    type WatchTransferStream = Messages<WatchTransferResponse>;

    async fn watch_transfer(
        &self,
        request: Request<WatchTransferRequest>,
    ) -> Result<Response<Self::WatchTransferStream>, Status> {
        let caller = person(&request)?;
        let id = check(&request, |v, request| v.id("transfer_id", &request.transfer_id))?;
        let changes = self.0.watch_transfer(caller, id).await?;
        let messages = changes.map_ok(|transfer| WatchTransferResponse { transfer: Some(transfer.into()) });
        Ok(rpc::stream(messages))
    }

    async fn explain_transfer(
        &self,
        request: Request<ExplainTransferRequest>,
    ) -> Result<Response<ExplainTransferResponse>, Status> {
        let id = check(&request, |v, request| v.id("transfer_id", &request.transfer_id))?;
        Ok(Response::new(self.0.explain_transfer(id).await?.into()))
    }

    async fn retry_transfer(
        &self,
        request: Request<RetryTransferRequest>,
    ) -> Result<Response<RetryTransferResponse>, Status> {
        let (call, id) = accept(&request, |v, request| v.id("transfer_id", &request.transfer_id))?;
        let answer = self.0.retry_transfer(&call, id).await?;
        Ok(respond(answer, |transfer| RetryTransferResponse { transfer: Some(transfer.into()) }))
    }

    async fn cancel_transfer(
        &self,
        request: Request<CancelTransferRequest>,
    ) -> Result<Response<CancelTransferResponse>, Status> {
        let (call, id) = accept(&request, |v, request| v.id("transfer_id", &request.transfer_id))?;
        let answer = self.0.cancel_transfer(&call, id).await?;
        Ok(respond(answer, |transfer| CancelTransferResponse { transfer: Some(transfer.into()) }))
    }

    async fn get_decision(
        &self,
        request: Request<GetDecisionRequest>,
    ) -> Result<Response<GetDecisionResponse>, Status> {
        let (id, mark) = check(&request, get_decision)?;
        let decided = self.0.get_decision(id, mark).await?;
        Ok(Response::new(GetDecisionResponse {
            decision: decision(decided.decision).into(),
            epoch: decided.epoch.to_string(),
        }))
    }
}

impl From<&TransferRefused> for Refusal {
    fn from(refused: &TransferRefused) -> Self {
        let refuse = |code, reason: ErrorReason| Self::new(code, &reason, refused.to_string());
        match refused {
            TransferRefused::NotFound(id) => {
                refuse(Code::NotFound, ErrorReason::TransferNotFound).resource("transfer", id.to_string())
            }
            TransferRefused::Cancelled { transfer_id, order_id, wallet_user_id, reason } => {
                let unmet = |subject| {
                    refuse(Code::FailedPrecondition, wire_reason(*reason))
                        .precondition(subject, refused.to_string())
                };
                let refusal = match reason {
                    Reason::UserNotFound => refuse(Code::NotFound, wire_reason(*reason))
                        .resource("user", wallet_user_id.to_string()),
                    Reason::InvalidState
                    | Reason::PaymentPending
                    | Reason::RefundExceedsPayment
                    | Reason::CurrencyMismatch => unmet(format!("orders/{order_id}")),
                    Reason::InsufficientCredit
                    | Reason::BalanceLimit
                    | Reason::UserDeactivated
                    | Reason::WalletFrozen
                    | Reason::WalletLimit
                    | Reason::TransferExpired
                    | Reason::CancelledByOperator => unmet(format!("transfers/{transfer_id}")),
                };
                refusal.with("transfer_id", transfer_id.to_string())
            }
            TransferRefused::Running(id) => {
                Self::new(Code::Unavailable, &CommonReason::RequestInProgress, refused.to_string())
                    .with("transfer_id", id.to_string())
                    .retry_after(RETRY_AFTER)
            }
            TransferRefused::AlreadyDecided(id) => {
                refuse(Code::FailedPrecondition, ErrorReason::AlreadyDecided)
                    .precondition(format!("transfers/{id}"), "must be undecided")
            }
            TransferRefused::Ended { transfer_id, state } => {
                refuse(Code::FailedPrecondition, ErrorReason::InvalidState)
                    .with("state", *state)
                    .precondition(format!("transfers/{transfer_id}"), format!("is {state}"))
            }
        }
    }
}

/// Why a transfer was cancelled, as the wire calls it.
const fn wire_reason(reason: Reason) -> ErrorReason {
    match reason {
        Reason::InsufficientCredit => ErrorReason::InsufficientCredit,
        Reason::BalanceLimit => ErrorReason::BalanceLimit,
        Reason::UserNotFound => ErrorReason::UserNotFound,
        Reason::UserDeactivated => ErrorReason::UserDeactivated,
        Reason::WalletFrozen => ErrorReason::WalletFrozen,
        Reason::WalletLimit => ErrorReason::WalletLimit,
        Reason::TransferExpired => ErrorReason::TransferExpired,
        Reason::CancelledByOperator => ErrorReason::CancelledByOperator,
        Reason::InvalidState => ErrorReason::InvalidState,
        Reason::PaymentPending => ErrorReason::PaymentPending,
        Reason::RefundExceedsPayment => ErrorReason::RefundExceedsPayment,
        Reason::CurrencyMismatch => ErrorReason::CurrencyMismatch,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;
    use uuid::Uuid;

    use super::super::refused::wire;
    use super::*;
    use crate::error::Error;

    #[test]
    fn every_refusal_has_its_code_reason_and_detail() {
        let uuid = Uuid::from_u128(1);
        let id = uuid.into();
        let (unmet, subject) = (Code::FailedPrecondition, format!("transfers/{uuid}"));
        for (refused, code, reason, subject) in [
            (TransferRefused::NotFound(id), Code::NotFound, "TRANSFER_NOT_FOUND", format!("transfer {uuid}")),
            (TransferRefused::AlreadyDecided(id), unmet, "ALREADY_DECIDED", subject.clone()),
            (TransferRefused::Ended { transfer_id: id, state: "completed" }, unmet, "INVALID_STATE", subject),
        ] {
            assert_eq!(wire(refused), (code, reason.to_owned(), subject), "{refused}");
        }
    }

    #[test]
    fn why_a_transfer_was_cancelled_is_told_with_its_stored_name() {
        let uuid = Uuid::from_u128(1);
        for reason in Reason::ALL.iter().copied() {
            let (transfer_id, order_id, wallet_user_id) = (uuid.into(), uuid.into(), uuid.into());
            let cancelled = TransferRefused::Cancelled { transfer_id, order_id, wallet_user_id, reason };
            let (code, name, subject) = wire(cancelled);
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
                | Reason::WalletFrozen
                | Reason::WalletLimit
                | Reason::TransferExpired
                | Reason::CancelledByOperator => (Code::FailedPrecondition, "transfers/"),
            };
            assert_eq!((code, subject), (expected.0, format!("{}{uuid}", expected.1)), "{name}");
        }
    }

    #[test]
    fn a_running_transfer_is_named_so_that_it_can_be_watched() {
        let uuid = Uuid::from_u128(1);
        let status = Status::from(Error::from(TransferRefused::Running(uuid.into())));
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str()), (Code::Unavailable, "REQUEST_IN_PROGRESS"));
        assert_eq!(info.metadata["transfer_id"], uuid.to_string());
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(RETRY_AFTER));
    }
}
