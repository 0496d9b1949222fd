//! `user.v1.WalletService`.

use api::user::v1::wallet_service_server::WalletService;
use api::user::v1::{
    GetHoldRequest, GetHoldResponse, GetTrialBalanceRequest, GetTrialBalanceResponse, GetWalletRequest,
    GetWalletResponse, GrantCreditRequest, GrantCreditResponse, ListWalletEntriesRequest,
    ListWalletEntriesResponse, SendCreditRequest, SendCreditResponse,
};
use auth::Principal;
use tonic::{Request, Response, Status};

use super::call::{person, respond};
use super::wallet_convert as convert;
use crate::app::App;

/// Wallets.
#[derive(Debug, Clone)]
pub(super) struct Wallets {
    pub(super) app: App,
}

#[tonic::async_trait]
impl WalletService for Wallets {
    async fn get_wallet(
        &self,
        request: Request<GetWalletRequest>,
    ) -> Result<Response<GetWalletResponse>, Status> {
        let view = convert::get_wallet(request.get_ref(), &person(&request)?)?;
        let wallet = self.app.get_wallet(view).await?;
        Ok(Response::new(GetWalletResponse { wallet: Some(convert::wallet(&wallet)) }))
    }

    async fn list_wallet_entries(
        &self,
        request: Request<ListWalletEntriesRequest>,
    ) -> Result<Response<ListWalletEntriesResponse>, Status> {
        let page = convert::list_wallet_entries(request.get_ref(), &person(&request)?)?;
        let entries = self.app.list_wallet_entries(page.view, page.below, i64::from(page.size) + 1).await?;
        Ok(Response::new(convert::entry_page(entries, &page)))
    }

    async fn grant_credit(
        &self,
        request: Request<GrantCreditRequest>,
    ) -> Result<Response<GrantCreditResponse>, Status> {
        let grant = convert::grant_credit(request.get_ref(), &Principal::of(&request))?;
        let granted = self.app.grant_credit(grant).await?;
        Ok(respond(granted, |entry| GrantCreditResponse { entry: Some(convert::entry(&entry)) }))
    }

    async fn send_credit(
        &self,
        request: Request<SendCreditRequest>,
    ) -> Result<Response<SendCreditResponse>, Status> {
        let send = convert::send_credit(request.get_ref(), &person(&request)?, &Principal::of(&request))?;
        let sent = self.app.send_credit(send).await?;
        Ok(respond(sent, |entry| SendCreditResponse { entry: Some(convert::entry(&entry)) }))
    }

    async fn get_hold(&self, request: Request<GetHoldRequest>) -> Result<Response<GetHoldResponse>, Status> {
        let (stored, history) = self.app.get_hold(convert::get_hold(request.get_ref())?).await?;
        Ok(Response::new(convert::get_hold_response(&stored, history)))
    }

    async fn get_trial_balance(
        &self,
        _: Request<GetTrialBalanceRequest>,
    ) -> Result<Response<GetTrialBalanceResponse>, Status> {
        let lines = self.app.get_trial_balance().await?;
        Ok(Response::new(GetTrialBalanceResponse { lines: lines.into_iter().map(convert::line).collect() }))
    }
}
