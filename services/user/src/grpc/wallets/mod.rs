//! `user.v1.WalletService`: its handlers, and how what is refused about wallets looks on the wire. Its requests and
//! answers are in `convert.rs`.

mod convert;

use api::refusal::Refusal;
use api::user::v1::wallet_service_server::WalletService;
use api::user::v1::{
    ErrorReason, FreezeWalletRequest, FreezeWalletResponse, GetHoldRequest, GetHoldResponse,
    GetTrialBalanceRequest, GetTrialBalanceResponse, GetWalletRequest, GetWalletResponse, GrantCreditRequest,
    GrantCreditResponse, ListWalletEntriesRequest, ListWalletEntriesResponse, SendCreditRequest,
    SendCreditResponse, SetWalletLimitsRequest, SetWalletLimitsResponse, UnfreezeWalletRequest,
    UnfreezeWalletResponse,
};
use runtime::rpc::{accept, check, person, respond};
use tonic::{Code, Request, Response, Status};

use crate::app::App;
use crate::domain::user::UserRefused;
use crate::domain::wallet::{CreditRefused, HoldNotFound, WalletKey, WalletRefused};

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
        let statement = self.0.list_wallet_entries(caller, wish).await?;
        Ok(Response::new(convert::entry_page(statement, caller.user_id, &wish)))
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

    async fn freeze_wallet(
        &self,
        request: Request<FreezeWalletRequest>,
    ) -> Result<Response<FreezeWalletResponse>, Status> {
        let (call, wish) = accept(&request, convert::freeze_wallet)?;
        let answer = self.0.act_on_wallet(&call, &wish).await?;
        Ok(respond(answer, |wallet| FreezeWalletResponse { wallet: Some(convert::wallet(&wallet)) }))
    }

    async fn unfreeze_wallet(
        &self,
        request: Request<UnfreezeWalletRequest>,
    ) -> Result<Response<UnfreezeWalletResponse>, Status> {
        let (call, wish) = accept(&request, convert::unfreeze_wallet)?;
        let answer = self.0.act_on_wallet(&call, &wish).await?;
        Ok(respond(answer, |wallet| UnfreezeWalletResponse { wallet: Some(convert::wallet(&wallet)) }))
    }

    async fn set_wallet_limits(
        &self,
        request: Request<SetWalletLimitsRequest>,
    ) -> Result<Response<SetWalletLimitsResponse>, Status> {
        let (call, wish) = accept(&request, convert::set_wallet_limits)?;
        let answer = self.0.act_on_wallet(&call, &wish).await?;
        Ok(respond(answer, |wallet| SetWalletLimitsResponse { wallet: Some(convert::wallet(&wallet)) }))
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
                .precondition(subject(WalletKey::of(*owner, *available)), "needs more credit"),
            CreditRefused::BalanceLimit(id) => refuse(ErrorReason::BalanceLimit)
                .with("user_id", id.to_string())
                .precondition(format!("users/{id}"), "cannot hold that much credit"),
            CreditRefused::UserNotFound(id) => (&UserRefused::NotFound(*id)).into(),
            CreditRefused::UserDeactivated(id) => (&UserRefused::Deactivated(*id)).into(),
            CreditRefused::WalletFrozen(key) => {
                refuse(ErrorReason::WalletFrozen).precondition(subject(*key), "is frozen")
            }
            CreditRefused::WalletLimit { owner, limit, left } => refuse(ErrorReason::WalletLimit)
                .with("limit", limit.as_str())
                .with("left_minor_units", left.minor_units.to_string())
                .with("currency_code", left.currency.code())
                .precondition(
                    subject(WalletKey::of(*owner, *left)),
                    format!("is limited: at most {left} now"),
                ),
        }
    }
}

impl From<&WalletRefused> for Refusal {
    fn from(refused: &WalletRefused) -> Self {
        let refuse = |reason: ErrorReason, key: WalletKey, must: &str| {
            Self::new(Code::FailedPrecondition, &reason, refused.to_string()).precondition(subject(key), must)
        };
        match refused {
            WalletRefused::Frozen(key) => refuse(ErrorReason::WalletFrozen, *key, "must not be frozen"),
            WalletRefused::NotFrozen(key) => refuse(ErrorReason::WalletNotFrozen, *key, "must be frozen"),
        }
    }
}

/// A wallet, in the words of a precondition.
fn subject(key: WalletKey) -> String {
    format!("users/{}/wallets/{}", key.owner, key.currency)
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
    use crate::domain::limits::Limit;

    #[test]
    fn every_refusal_has_its_code_reason_and_detail() {
        let uuid = Uuid::from_u128(1);
        let owner = UserId::from_uuid(uuid);
        let available = Money::new("EUR".parse().unwrap(), 5);
        let precondition = Code::FailedPrecondition;
        let (key, wallet) = (WalletKey::of(owner, available), format!("users/{uuid}/wallets/EUR"));
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
            (CreditRefused::WalletFrozen(key), seen(precondition, "WALLET_FROZEN", wallet.clone())),
            (
                CreditRefused::WalletLimit { owner, limit: Limit::Day, left: available },
                seen(precondition, "WALLET_LIMIT", wallet.clone()),
            ),
        ] {
            assert_eq!(wire(refused), expected, "{refused}");
        }
        for (refused, reason) in [
            (WalletRefused::Frozen(key), "WALLET_FROZEN"),
            (WalletRefused::NotFrozen(key), "WALLET_NOT_FROZEN"),
        ] {
            assert_eq!(wire(refused), seen(precondition, reason, wallet.clone()), "{refused}");
        }
        let unknown = HoldNotFound(TransferId::from_uuid(uuid));
        assert_eq!(wire(unknown), seen(Code::NotFound, "HOLD_NOT_FOUND", format!("hold {uuid}")));
    }
}
