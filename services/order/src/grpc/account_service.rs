//! `order.v1.AccountService`: decode, use case, encode.

use api::order::v1::account_service_server::AccountService;
use api::order::v1::{
    GetAccountRequest, GetAccountResponse, GetTrialBalanceRequest, GetTrialBalanceResponse,
    ListAccountEntriesRequest, ListAccountEntriesResponse,
};
use tonic::{Request, Response, Status};

use super::call::caller;
use super::convert::check;
use super::transfer_convert::{account_key, entries_page, entries_response};
use crate::app::App;

/// The accounts.
#[derive(Clone)]
pub(super) struct Accounts(pub(super) App);

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        let caller = caller(&request)?;
        let GetAccountRequest { owner_id, currency_code } = request.into_inner();
        let key = check(|v| account_key(v, caller, &owner_id, &currency_code))?;
        let account = self.0.account(caller, key).await?;
        Ok(Response::new(GetAccountResponse { account: Some(account.into()) }))
    }

    async fn list_account_entries(
        &self,
        request: Request<ListAccountEntriesRequest>,
    ) -> Result<Response<ListAccountEntriesResponse>, Status> {
        let caller = caller(&request)?;
        let page = check(|v| entries_page(v, caller, request.get_ref()))?;
        let (entries, more) = self.0.account_entries(caller, page.key, page.below, page.size).await?;
        Ok(Response::new(entries_response(page.key, entries, more)))
    }

    async fn get_trial_balance(
        &self,
        _: Request<GetTrialBalanceRequest>,
    ) -> Result<Response<GetTrialBalanceResponse>, Status> {
        Ok(Response::new(self.0.trial_balance().await?.into()))
    }
}
