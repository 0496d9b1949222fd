//! Merchants' accounts: `order.v1.AccountService`, its conversions and its refusals.

use api::call::Rpc as _;
use api::order::v1::account_service_server::AccountService;
use api::order::v1::{
    self, ErrorReason, GetAccountRequest, GetAccountResponse, GetTrialBalanceRequest,
    GetTrialBalanceResponse, ListAccountEntriesRequest, ListAccountEntriesResponse, account_entry,
};
use api::page_token;
use api::refusal::Refusal;
use api::violations::{Violations, timestamp};
use runtime::rpc::{check, person};
use tonic::{Code, Request, Response, Status};
use types::Money;

use crate::app::App;
use crate::app::accounts::ListEntries;
use crate::domain::AccountRefused;
use crate::domain::account::{Account, AccountKey, Entry};
use crate::domain::transfer::Kind;
use crate::storage::{TrialBalance, TrialBalanceLine};

/// The accounts.
#[derive(Clone)]
pub(super) struct Accounts(pub(super) App);

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        let (caller, key) = (person(&request)?, check(&request, get_account)?);
        let account = self.0.get_account(caller, key).await?;
        Ok(Response::new(GetAccountResponse { account: Some(account.into()) }))
    }

    async fn list_account_entries(
        &self,
        request: Request<ListAccountEntriesRequest>,
    ) -> Result<Response<ListAccountEntriesResponse>, Status> {
        let (caller, wish) = (person(&request)?, check(&request, list_entries)?);
        let (entries, more) = self.0.list_account_entries(caller, wish).await?;
        Ok(Response::new(entries_page(wish.key, entries, more)))
    }

    async fn get_trial_balance(
        &self,
        _: Request<GetTrialBalanceRequest>,
    ) -> Result<Response<GetTrialBalanceResponse>, Status> {
        Ok(Response::new(self.0.get_trial_balance().await?.into()))
    }
}

fn get_account(v: &mut Violations, request: &GetAccountRequest) -> Option<AccountKey> {
    account_key(v, &request.owner_id, &request.currency_code)
}

fn account_key(v: &mut Violations, owner_id: &str, currency: &str) -> Option<AccountKey> {
    let owner_id = v.user_or_caller("owner_id", owner_id);
    let currency = v.currency("currency_code", currency);
    Some(AccountKey { owner_id: owner_id?, currency: currency? })
}

fn list_entries(v: &mut Violations, request: &ListAccountEntriesRequest) -> Option<ListEntries> {
    let key = account_key(v, &request.owner_id, &request.currency_code);
    let size = v.page_size(request.page_size);
    // A token belongs to the account that its page is of, so without one it cannot be read.
    let key = key?;
    let (owner, currency) = (key.owner_id.to_string(), key.currency);
    let list = [ListAccountEntriesRequest::METHOD, &owner, currency.code()];
    let below = v.page_start(&list, &request.page_token);
    Some(ListEntries { key, below: below?, size: size? })
}

fn entries_page(key: AccountKey, entries: Vec<Entry>, more: bool) -> ListAccountEntriesResponse {
    let last = entries.last().filter(|_| more).and_then(|entry| u64::try_from(entry.sequence).ok());
    let (owner, currency) = (key.owner_id.to_string(), key.currency);
    let list = [ListAccountEntriesRequest::METHOD, &owner, currency.code()];
    ListAccountEntriesResponse {
        next_page_token: last.map(|last| page_token::encode_number(&list, last)).unwrap_or_default(),
        entries: entries.into_iter().map(Into::into).collect(),
    }
}

impl From<Account> for v1::Account {
    fn from(account: Account) -> Self {
        let money = |minor_units| Some(Money::new(account.key.currency, minor_units).into());
        Self {
            owner_id: account.key.owner_id.to_string(),
            balance: money(account.balance),
            held: money(account.held),
            available: money(account.available()),
            update_time: account.updated_at.map(timestamp),
        }
    }
}

impl From<Entry> for v1::AccountEntry {
    fn from(entry: Entry) -> Self {
        let money = |minor_units| Some(Money::new(entry.account.currency, minor_units).into());
        let kind = match entry.posting.kind {
            Kind::Pay => account_entry::Kind::Payment,
            Kind::Refund => account_entry::Kind::Refund,
        };
        Self {
            sequence: entry.sequence,
            kind: kind.into(),
            amount: money(entry.amount),
            balance_after: money(entry.balance_after),
            transfer_id: entry.posting.transfer_id.to_string(),
            order_id: entry.posting.order_id.to_string(),
            create_time: Some(timestamp(entry.posting.at)),
            hash: entry.hash.to_vec().into(),
        }
    }
}

impl From<TrialBalance> for GetTrialBalanceResponse {
    fn from(balance: TrialBalance) -> Self {
        Self {
            lines: balance.lines.into_iter().map(Into::into).collect(),
            unfinished_count: balance.unfinished.try_into().unwrap_or(i32::MAX),
        }
    }
}

impl From<TrialBalanceLine> for v1::TrialBalanceLine {
    fn from(line: TrialBalanceLine) -> Self {
        Self {
            account: line.account,
            currency_code: line.currency,
            debit_minor_units: line.debit,
            credit_minor_units: line.credit,
            balance_minor_units: line.balance,
            held_minor_units: line.held,
        }
    }
}

impl From<&AccountRefused> for Refusal {
    fn from(refused: &AccountRefused) -> Self {
        match refused {
            AccountRefused::NotFound(owner_id) => {
                Self::new(Code::NotFound, &ErrorReason::AccountNotFound, refused.to_string())
                    .resource("account", owner_id.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use types::Failure;

    use super::super::refused::wire;
    use super::*;
    use crate::domain::fixtures::user;

    #[test]
    fn a_page_token_is_good_for_its_own_account_only() {
        let key = AccountKey { owner_id: user(1), currency: "EUR".parse().unwrap() };
        let list = ["order.v1.AccountService/ListAccountEntries", &user(1).to_string(), "EUR"];
        let page = |currency: &str, token: &str| {
            let mut violations = Violations::of_caller(Some(user(1)));
            let request = ListAccountEntriesRequest {
                currency_code: currency.to_owned(),
                page_token: token.to_owned(),
                page_size: 7,
                ..ListAccountEntriesRequest::default()
            };
            let wish = list_entries(&mut violations, &request);
            violations.finish(wish).map_err(|failure| {
                let Failure::Invalid(broken) = failure else { panic!("{failure:?}") };
                broken.into_iter().map(|each| each.reason).collect::<Vec<_>>()
            })
        };
        let token = page_token::encode_number(&list, 41);
        assert_eq!(page("EUR", &token), Ok(ListEntries { key, below: Some(41), size: 7 }));
        assert_eq!(page("EUR", ""), Ok(ListEntries { key, below: None, size: 7 }));
        assert_eq!(page("JPY", &token), Err(vec!["INVALID_PAGE_TOKEN"]));
        assert_eq!(page("EUR", "nonsense"), Err(vec!["INVALID_PAGE_TOKEN"]));
        assert_eq!(page("eur", &token), Err(vec!["UNKNOWN_CURRENCY"]));
    }

    #[test]
    fn every_refusal_has_its_code_reason_and_detail() {
        let owner = user(1);
        let refused = wire(AccountRefused::NotFound(owner));
        assert_eq!(refused, (Code::NotFound, "ACCOUNT_NOT_FOUND".to_owned(), format!("account {owner}")));
    }
}
