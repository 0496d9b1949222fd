//! `user.v1.WalletService`: its handlers, and how what is refused about wallets looks on the wire. Its requests and
//! answers are in `convert.rs`.

mod convert;

use api::refusal::Refusal;
use api::user::v1::wallet_service_server::WalletService;
use api::user::v1::{
    ErrorReason, GetHoldRequest, GetHoldResponse, GetTrialBalanceRequest, GetTrialBalanceResponse,
    GetWalletRequest, GetWalletResponse, GrantCreditRequest, GrantCreditResponse, ListWalletEntriesRequest,
    ListWalletEntriesResponse, SendCreditRequest, SendCreditResponse,
};
use runtime::rpc::{accept, check, person, respond};
use tonic::{Code, Request, Response, Status};

use crate::app::App;
use crate::domain::user::UserRefused;
use crate::domain::wallet::{CreditRefused, HoldNotFound};

/// The rpcs about wallets.
#[derive(Debug, Clone)]
pub(super) struct Wallets(pub(super) App);

#[tonic::async_trait]
impl WalletService for Wallets {
    async fn get_wallet(
        &self,
        request: Request<GetWalletRequest>,
    ) -> Result<Response<GetWalletResponse>, Status> {
        let (caller, wish) = (person(&request)?, check(&request, convert::get_wallet)?);
        let wallet = self.0.get_wallet(caller, wish).await?;
        Ok(Response::new(GetWalletResponse { wallet: Some(convert::wallet(&wallet)) }))
    }

    async fn list_wallet_entries(
        &self,
        request: Request<ListWalletEntriesRequest>,
    ) -> Result<Response<ListWalletEntriesResponse>, Status> {
        let (caller, wish) = (person(&request)?, check(&request, convert::list_wallet_entries)?);
        let entries = self.0.list_wallet_entries(caller, wish).await?;
        Ok(Response::new(convert::entry_page(entries, caller.user_id, &wish)))
    }

    async fn grant_credit(
        &self,
        request: Request<GrantCreditRequest>,
    ) -> Result<Response<GrantCreditResponse>, Status> {
        let (call, wish) = accept(&request, convert::grant_credit)?;
        let answer = self.0.grant_credit(&call, wish).await?;
        Ok(respond(answer, |entry| GrantCreditResponse { entry: Some(convert::entry(&entry)) }))
    }

    async fn send_credit(
        &self,
        request: Request<SendCreditRequest>,
    ) -> Result<Response<SendCreditResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::send_credit)?);
        let answer = self.0.send_credit(&call, caller, wish).await?;
        Ok(respond(answer, |entry| SendCreditResponse { entry: Some(convert::entry(&entry)) }))
    }

    async fn get_hold(&self, request: Request<GetHoldRequest>) -> Result<Response<GetHoldResponse>, Status> {
        let (stored, history) = self.0.get_hold(check(&request, convert::get_hold)?).await?;
        Ok(Response::new(convert::get_hold_response(&stored, history)))
    }

    async fn get_trial_balance(
        &self,
        _: Request<GetTrialBalanceRequest>,
    ) -> Result<Response<GetTrialBalanceResponse>, Status> {
        let lines = self.0.get_trial_balance().await?;
        Ok(Response::new(GetTrialBalanceResponse { lines: lines.into_iter().map(convert::line).collect() }))
    }
}

impl From<&CreditRefused> for Refusal {
    fn from(refused: &CreditRefused) -> Self {
        let refuse = |reason: ErrorReason| Self::new(Code::FailedPrecondition, &reason, refused.to_string());
        match refused {
            CreditRefused::InsufficientCredit { owner, available } => refuse(ErrorReason::InsufficientCredit)
                .with("available_minor_units", available.minor_units.to_string())
                .with("currency_code", available.currency.code())
                .precondition(format!("users/{owner}/wallets/{}", available.currency), "needs more credit"),
            CreditRefused::BalanceLimit(id) => refuse(ErrorReason::BalanceLimit)
                .with("user_id", id.to_string())
                .precondition(format!("users/{id}"), "cannot hold that much credit"),
            CreditRefused::UserNotFound(id) => (&UserRefused::NotFound(*id)).into(),
            CreditRefused::UserDeactivated(id) => (&UserRefused::Deactivated(*id)).into(),
        }
    }
}

impl From<&HoldNotFound> for Refusal {
    fn from(refused: &HoldNotFound) -> Self {
        Self::new(Code::NotFound, &ErrorReason::HoldNotFound, refused.to_string())
            .resource("hold", refused.0.to_string())
    }
}

#[cfg(test)]
mod tests {
    use types::{Money, TransferId, UserId};
    use uuid::Uuid;

    use super::super::tests::{seen, wire};
    use super::*;

    #[test]
    fn every_refusal_has_its_code_reason_and_detail() {
        let uuid = Uuid::from_u128(1);
        let owner = UserId::from_uuid(uuid);
        let available = Money::new("EUR".parse().unwrap(), 5);
        let precondition = Code::FailedPrecondition;
        for (refused, expected) in [
            (
                CreditRefused::InsufficientCredit { owner, available },
                seen(precondition, "INSUFFICIENT_CREDIT", format!("users/{uuid}/wallets/EUR")),
            ),
            (
                CreditRefused::BalanceLimit(owner),
                seen(precondition, "BALANCE_LIMIT", format!("users/{uuid}")),
            ),
            (
                CreditRefused::UserNotFound(owner),
                seen(Code::NotFound, "USER_NOT_FOUND", format!("user {uuid}")),
            ),
            (
                CreditRefused::UserDeactivated(owner),
                seen(precondition, "USER_DEACTIVATED", format!("users/{uuid}")),
            ),
        ] {
            assert_eq!(wire(refused), expected, "{refused}");
        }
        let unknown = HoldNotFound(TransferId::from_uuid(uuid));
        assert_eq!(wire(unknown), seen(Code::NotFound, "HOLD_NOT_FOUND", format!("hold {uuid}")));
    }
}
