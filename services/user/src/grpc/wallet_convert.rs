//! Wallets between protobuf and the words of this crate. All broken rules of a request are told at once.

use api::page_token;
use api::user::v1::wallet_entry::Kind as WireKind;
use api::user::v1::{
    GetHoldRequest, GetHoldResponse, GetWalletRequest, GrantCreditRequest, Hold as HoldMessage,
    HoldEvent as HoldEventMessage, HoldPosting as HoldPostingMessage, ListWalletEntriesRequest,
    ListWalletEntriesResponse, SendCreditRequest, TrialBalanceLine as LineMessage, Wallet as WalletMessage,
    WalletEntry as EntryMessage, hold,
};
use api::violations::{Violations, timestamp};
use auth::{Person, Principal};
use events::{Direction, HoldState};
use types::{Money, Role, TransferId};

use super::call::idempotency;
use crate::app::{GrantCredit, SendCredit, WalletView};
use crate::domain::ledger::{Kind, TrialBalanceLine, WalletEntry};
use crate::domain::wallet::Wallet;
use crate::error::{Error, Result};
use crate::storage::{HoldEvent, HoldHistory, StoredHold};

const LIST_WALLET_ENTRIES: &str = "user.v1.WalletService/ListWalletEntries";
const GRANT_CREDIT: &str = "user.v1.WalletService/GrantCredit";
const SEND_CREDIT: &str = "user.v1.WalletService/SendCredit";

/// A page of a wallet's book that is asked for.
#[derive(Debug)]
pub(super) struct EntryPage {
    pub(super) view: WalletView,
    /// The sequence that the page before ended with.
    pub(super) below: Option<i64>,
    pub(super) size: u32,
}

pub(super) fn get_wallet(request: &GetWalletRequest, person: &Person) -> Result<WalletView> {
    let mut violations = Violations::new();
    let view = view(&mut violations, &request.user_id, &request.currency_code, person);
    violations.finish(view).map_err(Error::Invalid)
}

pub(super) fn list_wallet_entries(request: &ListWalletEntriesRequest, person: &Person) -> Result<EntryPage> {
    let mut violations = Violations::new();
    let view = view(&mut violations, &request.user_id, &request.currency_code, person);
    let size = violations.page_size(request.page_size);
    let below = match view {
        None => None,
        Some(_) if request.page_token.is_empty() => Some(None),
        Some(view) => {
            let sequence = page_token::decode_number(
                &list_of(&view).each_ref().map(String::as_str),
                &request.page_token,
            )
            .and_then(|sequence| i64::try_from(sequence).ok());
            if sequence.is_none() {
                violations.add(
                    "page_token",
                    "INVALID_PAGE_TOKEN",
                    "must be the next_page_token of the same list",
                );
            }
            sequence.map(Some)
        }
    };
    let page = view.zip(size).zip(below).map(|((view, size), below)| EntryPage { view, below, size });
    violations.finish(page).map_err(Error::Invalid)
}

/// One more entry than the page has was read: it tells whether there is a next page.
pub(super) fn entry_page(mut entries: Vec<WalletEntry>, page: &EntryPage) -> ListWalletEntriesResponse {
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let has_more = entries.len() > size;
    entries.truncate(size);
    let last = entries.last().filter(|_| has_more).and_then(|entry| u64::try_from(entry.sequence).ok());
    let list = list_of(&page.view);
    let token = |sequence| page_token::encode_number(&list.each_ref().map(String::as_str), sequence);
    ListWalletEntriesResponse {
        next_page_token: last.map(token).unwrap_or_default(),
        entries: entries.iter().map(entry).collect(),
    }
}

/// What a page token is good for: this method, this caller, this wallet.
fn list_of(view: &WalletView) -> [String; 4] {
    [
        LIST_WALLET_ENTRIES.to_owned(),
        view.viewer.to_string(),
        view.owner.to_string(),
        view.currency.to_string(),
    ]
}

fn view(
    violations: &mut Violations,
    user_id: &str,
    currency_code: &str,
    person: &Person,
) -> Option<WalletView> {
    let owner = violations.optional_id("user_id", user_id);
    let currency = violations.currency("currency_code", currency_code);
    owner.zip(currency).map(|(owner, currency)| WalletView {
        viewer: person.user_id,
        viewer_is_admin: person.role == Role::Admin,
        owner: owner.unwrap_or(person.user_id),
        currency,
    })
}

pub(super) fn grant_credit(request: &GrantCreditRequest, principal: &Principal) -> Result<GrantCredit> {
    let mut violations = Violations::new();
    let request_id = violations.request_id(&request.request_id);
    let to = violations.id("user_id", &request.user_id);
    let amount = violations.amount("amount", request.amount.as_ref());
    let grant = request_id.zip(to).zip(amount).map(|((request_id, to), amount)| GrantCredit {
        idempotency: idempotency(principal, GRANT_CREDIT, request_id, request, &[]),
        to,
        amount,
    });
    violations.finish(grant).map_err(Error::Invalid)
}

pub(super) fn send_credit(
    request: &SendCreditRequest,
    person: &Person,
    principal: &Principal,
) -> Result<SendCredit> {
    let mut violations = Violations::new();
    let request_id = violations.request_id(&request.request_id);
    let to = violations.id("to_user_id", &request.to_user_id);
    if to == Some(person.user_id) {
        violations.add("to_user_id", "SAME_ACCOUNT", "must be another user than the caller");
    }
    let amount = violations.amount("amount", request.amount.as_ref());
    let send = request_id.zip(to).zip(amount).map(|((request_id, to), amount)| SendCredit {
        idempotency: idempotency(principal, SEND_CREDIT, request_id, request, &[]),
        from: person.user_id,
        to,
        amount,
    });
    violations.finish(send).map_err(Error::Invalid)
}

pub(super) fn get_hold(request: &GetHoldRequest) -> Result<TransferId> {
    let mut violations = Violations::new();
    let transfer_id = violations.id("transfer_id", &request.transfer_id);
    violations.finish(transfer_id).map_err(Error::Invalid)
}

pub(super) fn wallet(wallet: &Wallet) -> WalletMessage {
    let money = |minor_units| Some(Money::new(wallet.key.currency, minor_units).into());
    WalletMessage {
        user_id: wallet.key.owner.to_string(),
        balance: money(wallet.balance),
        held: money(wallet.held),
        available: money(wallet.available()),
        update_time: wallet.updated_at.map(timestamp),
    }
}

pub(super) fn entry(entry: &WalletEntry) -> EntryMessage {
    let money = |minor_units| Some(Money::new(entry.wallet.currency, minor_units).into());
    let kind = match entry.kind {
        Kind::Grant => WireKind::Grant,
        Kind::Send => WireKind::Send,
        Kind::Receive => WireKind::Receive,
        Kind::Payment => WireKind::Payment,
        Kind::Refund => WireKind::Refund,
    };
    EntryMessage {
        sequence: entry.sequence,
        kind: kind.into(),
        amount: money(entry.amount),
        balance_after: money(entry.balance_after),
        posting_id: entry.posting_id.to_string(),
        counterparty_id: entry.counterparty.map(|user| user.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(entry.created_at)),
        hash: entry.hash.to_vec().into(),
    }
}

pub(super) fn get_hold_response(stored: &StoredHold, history: HoldHistory) -> GetHoldResponse {
    let event = |event: HoldEvent| HoldEventMessage {
        id: event.id.to_string(),
        r#type: event.event_type,
        create_time: Some(timestamp(event.created_at)),
        traceparent: event.traceparent.unwrap_or_default(),
        position: event.position.unwrap_or_default(),
    };
    let posting = history.posting.map(|posting| HoldPostingMessage {
        debit_account: posting.debit,
        credit_account: posting.credit,
        amount: Some(posting.amount.into()),
        create_time: Some(timestamp(posting.created_at)),
    });
    let events = history.events.into_iter().map(event).collect();
    GetHoldResponse { hold: Some(hold(stored)), events, posting }
}

fn hold(stored: &StoredHold) -> HoldMessage {
    let spec = stored.hold.spec.as_ref();
    let state = match stored.hold.state {
        HoldState::Held => hold::State::Held,
        HoldState::Posted => hold::State::Posted,
        HoldState::Cancelled => hold::State::Cancelled,
    };
    let amount = spec.map(|spec| match spec.direction {
        Direction::Debit => Money::new(spec.amount.currency, -spec.amount.minor_units),
        Direction::Credit => spec.amount,
    });
    HoldMessage {
        transfer_id: stored.hold.transfer_id.to_string(),
        user_id: spec.map(|spec| spec.owner.to_string()).unwrap_or_default(),
        amount: amount.map(Into::into),
        state: state.into(),
        reason: stored.hold.refusal.map(|refusal| refusal.as_str().to_owned()).unwrap_or_default(),
        create_time: Some(timestamp(stored.created_at)),
        update_time: Some(timestamp(stored.updated_at)),
        expire_time: spec.map(|spec| timestamp(spec.expires_at)),
    }
}

pub(super) fn line(line: TrialBalanceLine) -> LineMessage {
    LineMessage {
        account: line.account,
        currency_code: line.currency.to_string(),
        debit_minor_units: line.debit,
        credit_minor_units: line.credit,
        balance_minor_units: line.balance,
        held_minor_units: line.held,
    }
}

#[cfg(test)]
mod tests {
    use types::{SessionId, UserId};
    use uuid::Uuid;

    use super::*;

    fn person() -> Person {
        Person {
            user_id: UserId::from_uuid(Uuid::from_u128(1)),
            role: Role::Customer,
            session_id: SessionId::from_uuid(Uuid::from_u128(2)),
        }
    }

    fn broken<T>(outcome: Result<T>) -> Vec<(String, String)> {
        let Err(Error::Invalid(violations)) = outcome else { panic!("the request was accepted") };
        violations.into_iter().map(|violation| (violation.field, violation.reason)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(field, reason)| ((*field).to_owned(), (*reason).to_owned())).collect()
    }

    #[test]
    fn everything_that_is_wrong_with_a_sending_is_told_at_once() {
        let principal = Principal::User(person());
        let empty = broken(send_credit(&SendCreditRequest::default(), &person(), &principal));
        assert_eq!(
            empty,
            pairs(&[("request_id", "REQUIRED"), ("to_user_id", "REQUIRED"), ("amount", "REQUIRED")])
        );
        let to_oneself = SendCreditRequest {
            request_id: Uuid::from_u128(3).to_string(),
            to_user_id: person().user_id.to_string(),
            amount: Some(api::common::v1::Money { currency_code: "EUR".to_owned(), minor_units: -1 }),
        };
        assert_eq!(
            broken(send_credit(&to_oneself, &person(), &principal)),
            pairs(&[("to_user_id", "SAME_ACCOUNT"), ("amount.minor_units", "AMOUNT_NOT_POSITIVE")])
        );
    }

    fn list(page_token: &str, currency: &str) -> ListWalletEntriesRequest {
        ListWalletEntriesRequest {
            currency_code: currency.to_owned(),
            page_size: 1,
            page_token: page_token.to_owned(),
            ..ListWalletEntriesRequest::default()
        }
    }

    #[test]
    fn a_page_token_goes_on_where_the_page_ended_and_nowhere_else() {
        let page = list_wallet_entries(&list("", "EUR"), &person()).unwrap();
        let entry = |sequence| WalletEntry {
            wallet: crate::domain::wallet::WalletKey { owner: page.view.owner, currency: page.view.currency },
            sequence,
            kind: Kind::Grant,
            amount: 1,
            balance_after: sequence,
            posting_id: Uuid::from_u128(9).into(),
            counterparty: None,
            created_at: time::OffsetDateTime::UNIX_EPOCH,
            hash: [0; 32],
        };
        let answer = entry_page(vec![entry(5), entry(4)], &page);
        assert_eq!(answer.entries.len(), 1);
        let next = list_wallet_entries(&list(&answer.next_page_token, "EUR"), &person()).unwrap();
        assert_eq!(next.below, Some(5));
        assert_eq!(entry_page(vec![entry(4)], &next).next_page_token, "");

        let invalid = pairs(&[("page_token", "INVALID_PAGE_TOKEN")]);
        assert_eq!(broken(list_wallet_entries(&list(&answer.next_page_token, "USD"), &person())), invalid);
        assert_eq!(broken(list_wallet_entries(&list("00", "EUR"), &person())), invalid);
        let other = Person { user_id: Uuid::from_u128(8).into(), ..person() };
        assert_eq!(broken(list_wallet_entries(&list(&answer.next_page_token, "EUR"), &other)), invalid);
    }
}
