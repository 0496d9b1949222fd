//! Transfers and accounts between the wire's types and ours.

use api::order::v1::explain_transfer_response::Step;
use api::order::v1::transfer::{Decision as WireDecision, Kind as WireKind, State as WireState};
use api::order::v1::{self, account_entry};
use api::page_token;
use api::violations::{Violations, timestamp};
use types::{Money, UserId};

use crate::app::{Caller, Explanation, RefundOrder};
use crate::domain::account::{Account, AccountKey, Entry};
use crate::domain::transfer::{Decision, Kind, State, Transfer};
use crate::storage::{Told, TrialBalance, TrialBalanceLine};

const ENTRIES: &str = "order.v1.AccountService/ListAccountEntries";

pub(super) fn refund_order(v: &mut Violations, request: &v1::RefundOrderRequest) -> Option<RefundOrder> {
    let order_id = v.id("order_id", &request.order_id);
    let amount = v.amount("amount", request.amount.as_ref());
    Some(RefundOrder { order_id: order_id?, amount: amount? })
}

pub(super) fn account_key(
    v: &mut Violations,
    caller: Caller,
    owner_id: &str,
    currency: &str,
) -> Option<AccountKey> {
    let owner_id = v.optional_id::<UserId>("owner_id", owner_id);
    let currency = v.currency("currency_code", currency);
    Some(AccountKey { owner_id: owner_id?.unwrap_or(caller.user_id), currency: currency? })
}

/// A page of an account's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntriesPage {
    pub(super) key: AccountKey,
    /// Entries below this sequence.
    pub(super) below: Option<i64>,
    pub(super) size: u32,
}

pub(super) fn entries_page(
    v: &mut Violations,
    caller: Caller,
    request: &v1::ListAccountEntriesRequest,
) -> Option<EntriesPage> {
    let key = account_key(v, caller, &request.owner_id, &request.currency_code);
    let size = v.page_size(request.page_size);
    let below = match (request.page_token.as_str(), key) {
        ("", _) => Some(None),
        (_, None) => None,
        (token, Some(key)) => {
            let (owner, currency) = (key.owner_id.to_string(), key.currency);
            let number = page_token::decode_number(&[ENTRIES, &owner, currency.code()], token);
            let below = number.and_then(|number| i64::try_from(number).ok());
            if below.is_none() {
                v.add("page_token", "INVALID_PAGE_TOKEN", "must be the next_page_token of the same list");
            }
            below.map(Some)
        }
    };
    Some(EntriesPage { key: key?, below: below?, size: size? })
}

pub(super) fn entries_response(
    key: AccountKey,
    entries: Vec<Entry>,
    more: bool,
) -> v1::ListAccountEntriesResponse {
    let last = entries.last().filter(|_| more).and_then(|entry| u64::try_from(entry.sequence).ok());
    let (owner, currency) = (key.owner_id.to_string(), key.currency);
    let list = [ENTRIES, &owner, currency.code()];
    v1::ListAccountEntriesResponse {
        next_page_token: last.map(|last| page_token::encode_number(&list, last)).unwrap_or_default(),
        entries: entries.into_iter().map(Into::into).collect(),
    }
}

impl From<Kind> for WireKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Pay => Self::Pay,
            Kind::Refund => Self::Refund,
        }
    }
}

impl From<State> for WireState {
    fn from(state: State) -> Self {
        match state {
            State::Reserving => Self::Reserving,
            State::Confirming => Self::Confirming,
            State::Cancelling => Self::Cancelling,
            State::Completed => Self::Completed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// Unspecified while there is none.
pub(super) fn decision(decision: Option<Decision>) -> WireDecision {
    match decision {
        None => WireDecision::Unspecified,
        Some(Decision::Confirm) => WireDecision::Confirm,
        Some(Decision::Cancel) => WireDecision::Cancel,
    }
}

impl From<Transfer> for v1::Transfer {
    fn from(transfer: Transfer) -> Self {
        Self {
            id: transfer.id.to_string(),
            kind: WireKind::from(transfer.kind).into(),
            order_id: transfer.order_id.to_string(),
            wallet_user_id: transfer.wallet_user_id.to_string(),
            account_owner_id: transfer.account_owner_id.to_string(),
            amount: Some(transfer.amount.into()),
            state: WireState::from(transfer.state).into(),
            decision: decision(transfer.decision()).into(),
            reason: transfer.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
            needs_operator: transfer.needs_operator,
            create_time: Some(timestamp(transfer.created_at)),
            update_time: Some(timestamp(transfer.updated_at)),
            deadline_time: Some(timestamp(transfer.deadline)),
        }
    }
}

impl From<Explanation> for v1::ExplainTransferResponse {
    fn from(explanation: Explanation) -> Self {
        let Explanation { transfer, steps, unreachable_sources } = explanation;
        Self {
            last_error: transfer.last_error.clone(),
            transfer: Some(transfer.into()),
            steps: steps.into_iter().map(|(source, told)| step(source, told)).collect(),
            unreachable_sources: unreachable_sources.into_iter().map(str::to_owned).collect(),
        }
    }
}

fn step(source: &str, told: Told) -> Step {
    Step {
        time: Some(timestamp(told.at)),
        source: source.to_owned(),
        description: told.description,
        event_id: told.event_id.map(|id| id.to_string()).unwrap_or_default(),
        trace_id: told.traceparent.as_deref().and_then(trace_id).unwrap_or_default().to_owned(),
    }
}

/// The second part of `00-<trace>-<span>-<flags>`.
fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
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

impl From<TrialBalance> for v1::GetTrialBalanceResponse {
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

#[cfg(test)]
mod tests {
    use types::Role;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_page_token_is_good_for_its_own_account_only() {
        let caller = Caller { user_id: Uuid::from_u128(1).into(), role: Role::Merchant };
        let key = AccountKey { owner_id: caller.user_id, currency: "EUR".parse().unwrap() };
        let list = [ENTRIES, &caller.user_id.to_string(), "EUR"];
        let page = |currency: &str, token: &str| {
            let mut violations = Violations::new();
            let request = v1::ListAccountEntriesRequest {
                currency_code: currency.to_owned(),
                page_token: token.to_owned(),
                page_size: 7,
                ..v1::ListAccountEntriesRequest::default()
            };
            let page = entries_page(&mut violations, caller, &request);
            violations
                .finish(page)
                .map_err(|broken| broken.into_iter().map(|each| each.reason).collect::<Vec<_>>())
        };
        let token = page_token::encode_number(&list, 41);
        assert_eq!(page("EUR", &token), Ok(EntriesPage { key, below: Some(41), size: 7 }));
        assert_eq!(page("EUR", ""), Ok(EntriesPage { key, below: None, size: 7 }));
        assert_eq!(page("JPY", &token), Err(vec!["INVALID_PAGE_TOKEN".to_owned()]));
        assert_eq!(page("EUR", "nonsense"), Err(vec!["INVALID_PAGE_TOKEN".to_owned()]));
        assert_eq!(page("eur", &token), Err(vec!["UNKNOWN_CURRENCY".to_owned()]));
    }

    #[test]
    fn the_trace_is_read_out_of_a_traceparent() {
        assert_eq!(
            trace_id("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").map(str::len),
            Some(32)
        );
        assert_eq!(trace_id("nonsense"), None);
    }
}
