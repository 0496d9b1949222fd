//! Wallets between protobuf and the words of this crate.

use api::call::Rpc as _;
use api::user::v1::wallet_entry::Kind as WireKind;
use api::user::v1::{
    FreezeWalletRequest, GetHoldRequest, GetHoldResponse, GetWalletRequest, GrantCreditRequest,
    Hold as HoldMessage, HoldEvent as HoldEventMessage, HoldPosting as HoldPostingMessage,
    ListWalletEntriesRequest, ListWalletEntriesResponse, SendCreditRequest, SetWalletLimitsRequest,
    TrialBalanceLine as LineMessage, UnfreezeWalletRequest, Wallet as WalletMessage,
    WalletEntry as EntryMessage, hold,
};
use api::violations::{Violations, time, timestamp};
use api::{common, page_token};
use events::{Direction, HoldState};
use time::OffsetDateTime;
use types::{Currency, Money, TransferId, UserId};

use crate::app::wallets::{ActOnWallet, GrantCredit, ListWalletEntries, SendCredit, Statement};
use crate::domain::ledger::{Kind, TrialBalanceLine, WalletEntry};
use crate::domain::limits::Limits;
use crate::domain::spending::Act;
use crate::domain::wallet::{Wallet, WalletKey};
use crate::storage::{HoldEvent, HoldHistory, StoredHold};

const JUSTIFICATION_MAX: usize = 500;

pub(super) fn get_wallet(v: &mut Violations, request: &GetWalletRequest) -> Option<WalletKey> {
    wallet_key(v, &request.user_id, &request.currency_code)
}

pub(super) fn list_wallet_entries(
    v: &mut Violations,
    request: &ListWalletEntriesRequest,
) -> Option<ListWalletEntries> {
    let wallet = wallet_key(v, &request.user_id, &request.currency_code);
    let kind = optional_kind(v, request.kind);
    let span = span(v, request);
    let size = v.page_size(request.page_size);
    let (viewer, wallet) = v.caller().zip(wallet)?;
    let ((kind, [start, end]), size) = kind.zip(span).zip(size)?;
    let page = ListWalletEntries { wallet, kind, start, end, below: None, size };
    let list = list_of(viewer, &page);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let below = v.page_start(&list, &request.page_token)?;
    Some(ListWalletEntries { below, ..page })
}

fn optional_kind(v: &mut Violations, number: i32) -> Option<Option<Kind>> {
    if number == i32::from(WireKind::Unspecified) {
        return Some(None);
    }
    let kind = Kind::ALL.into_iter().find(|kind| i32::from(kind.number()) == number);
    if kind.is_none() {
        v.add("kind", "UNKNOWN_ENUM_VALUE", "must be one of the kinds");
    }
    kind.map(Some)
}

/// From when and until when.
fn span(v: &mut Violations, request: &ListWalletEntriesRequest) -> Option<[Option<OffsetDateTime>; 2]> {
    let mut moment = |field, text: Option<&prost_types::Timestamp>| {
        let Some(text) = text else { return Some(None) };
        let moment = time(text);
        if moment.is_none() {
            v.add(
                field,
                "INVALID_TIMESTAMP",
                "must be of the years 1 to 9999, with nanoseconds below a second",
            );
        }
        moment.map(Some)
    };
    let start = moment("start_time", request.start_time.as_ref());
    let end = moment("end_time", request.end_time.as_ref());
    let (start, end) = start.zip(end)?;
    if start.zip(end).is_some_and(|(start, end)| end < start) {
        v.add("end_time", "BEFORE_START_TIME", "must not be before start_time");
        return None;
    }
    Some([start, end])
}

/// One more entry than the page has was read: it tells whether there is a next page.
pub(super) fn entry_page(
    statement: Statement,
    viewer: UserId,
    page: &ListWalletEntries,
) -> ListWalletEntriesResponse {
    let Statement { mut entries, opening, closing } = statement;
    let money = |minor_units| Some(Money::new(page.wallet.currency, minor_units).into());
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let has_more = entries.len() > size;
    entries.truncate(size);
    let last = entries.last().filter(|_| has_more).and_then(|entry| u64::try_from(entry.sequence).ok());
    let list = list_of(viewer, page);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let token = |sequence| page_token::encode_number(&list, sequence);
    ListWalletEntriesResponse {
        next_page_token: last.map(token).unwrap_or_default(),
        entries: entries.iter().map(entry).collect(),
        opening_balance: money(opening),
        closing_balance: money(closing),
    }
}

/// What a page token is good for: this method, this caller, this wallet; and this kind and time, if any was asked for. A
/// release before those makes and takes the tokens of a whole book.
fn list_of(viewer: UserId, page: &ListWalletEntries) -> Vec<String> {
    let wallet = page.wallet;
    let mut list = vec![
        ListWalletEntriesRequest::METHOD.to_owned(),
        viewer.to_string(),
        wallet.owner.to_string(),
        wallet.currency.to_string(),
    ];
    if page.kind.is_some() || page.start.is_some() || page.end.is_some() {
        let moment = |time: Option<OffsetDateTime>| {
            time.map(|time| time.unix_timestamp_nanos().to_string()).unwrap_or_default()
        };
        let kind = page.kind.map(Kind::as_str).unwrap_or_default().to_owned();
        list.extend([kind, moment(page.start), moment(page.end)]);
    }
    list
}

fn wallet_key(v: &mut Violations, user_id: &str, currency_code: &str) -> Option<WalletKey> {
    let owner = v.user_or_caller("user_id", user_id);
    let currency = v.currency("currency_code", currency_code);
    Some(WalletKey { owner: owner?, currency: currency? })
}

pub(super) fn grant_credit(v: &mut Violations, request: &GrantCreditRequest) -> Option<GrantCredit> {
    let to = v.id("user_id", &request.user_id);
    let amount = v.amount("amount", request.amount.as_ref());
    Some(GrantCredit { to: to?, amount: amount? })
}

pub(super) fn send_credit(v: &mut Violations, request: &SendCreditRequest) -> Option<SendCredit> {
    let to = v.another_user("to_user_id", &request.to_user_id, "SAME_ACCOUNT");
    let amount = v.amount("amount", request.amount.as_ref());
    Some(SendCredit { to: to?, amount: amount? })
}

pub(super) fn freeze_wallet(v: &mut Violations, request: &FreezeWalletRequest) -> Option<ActOnWallet> {
    let wallet = anybodys_wallet(v, &request.user_id, &request.currency_code);
    let justification = v.body("justification", &request.justification, JUSTIFICATION_MAX);
    Some(ActOnWallet { wallet: wallet?, act: Act::Freeze, justification: justification? })
}

pub(super) fn unfreeze_wallet(v: &mut Violations, request: &UnfreezeWalletRequest) -> Option<ActOnWallet> {
    let wallet = anybodys_wallet(v, &request.user_id, &request.currency_code);
    let justification = v.body("justification", &request.justification, JUSTIFICATION_MAX);
    Some(ActOnWallet { wallet: wallet?, act: Act::Unfreeze, justification: justification? })
}

pub(super) fn set_wallet_limits(v: &mut Violations, request: &SetWalletLimitsRequest) -> Option<ActOnWallet> {
    let wallet = anybodys_wallet(v, &request.user_id, &request.currency_code);
    let currency = wallet.map(|wallet| wallet.currency);
    let payment = limit(v, "payment_limit", request.payment_limit.as_ref(), currency);
    let day = limit(v, "day_limit", request.day_limit.as_ref(), currency);
    let justification = v.body("justification", &request.justification, JUSTIFICATION_MAX);
    let act = Act::SetLimits(Limits { payment: payment?, day: day? });
    Some(ActOnWallet { wallet: wallet?, act, justification: justification? })
}

fn anybodys_wallet(v: &mut Violations, user_id: &str, currency_code: &str) -> Option<WalletKey> {
    let owner = v.id("user_id", user_id);
    let currency = v.currency("currency_code", currency_code);
    Some(WalletKey { owner: owner?, currency: currency? })
}

/// A limit in the wallet's currency, which may be left out; `Some(None)` when it was.
fn limit(
    v: &mut Violations,
    field: &str,
    money: Option<&common::v1::Money>,
    currency: Option<Currency>,
) -> Option<Option<i64>> {
    if money.is_none() {
        return Some(None);
    }
    let amount = v.amount(field, money)?;
    if currency.is_some_and(|currency| currency != amount.currency) {
        v.add(&format!("{field}.currency_code"), "CURRENCY_MISMATCH", "must be the wallet's currency");
        return None;
    }
    Some(Some(amount.minor_units))
}

pub(super) fn get_hold(v: &mut Violations, request: &GetHoldRequest) -> Option<TransferId> {
    v.id("transfer_id", &request.transfer_id)
}

pub(super) fn wallet(wallet: &Wallet) -> WalletMessage {
    let money = |minor_units| Some(Money::new(wallet.key.currency, minor_units).into());
    WalletMessage {
        user_id: wallet.key.owner.to_string(),
        balance: money(wallet.balance),
        held: money(wallet.held),
        available: money(wallet.available()),
        update_time: wallet.updated_at.map(timestamp),
        frozen: wallet.is_frozen,
        payment_limit: wallet.limits.payment.and_then(money),
        day_limit: wallet.limits.day.and_then(money),
        spent: wallet.spent.and_then(|spent| money(spent.amount)),
        spent_date: wallet.spent.map(|spent| spent.day.to_string()).unwrap_or_default(),
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
    use auth::{Person, Principal};
    use runtime::rpc::{accept, check};
    use tonic::{Request, Status};
    use tonic_types::StatusExt as _;
    use types::{Role, SessionId};
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::from_uuid(Uuid::from_u128(1));

    fn from<R>(user_id: UserId, message: R) -> Request<R> {
        let session_id = SessionId::from_uuid(Uuid::from_u128(2));
        let mut request = Request::new(message);
        request.extensions_mut().insert(Principal::User(Person {
            user_id,
            role: Role::Customer,
            session_id,
        }));
        request
    }

    /// The broken rules that a request was refused for.
    fn broken<T>(outcome: Result<T, Status>) -> Vec<(String, String)> {
        let Err(status) = outcome else { panic!("the request was accepted") };
        let details = status.get_details_bad_request().unwrap();
        details.field_violations.into_iter().map(|violation| (violation.field, violation.reason)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(field, reason)| ((*field).to_owned(), (*reason).to_owned())).collect()
    }

    #[test]
    fn everything_that_is_wrong_with_a_sending_is_told_at_once() {
        let empty = broken(accept(&from(ANN, SendCreditRequest::default()), send_credit));
        assert_eq!(
            empty,
            pairs(&[("request_id", "REQUIRED"), ("to_user_id", "REQUIRED"), ("amount", "REQUIRED")])
        );
        let to_oneself = SendCreditRequest {
            request_id: Uuid::from_u128(3).to_string(),
            to_user_id: ANN.to_string(),
            amount: Some(api::common::v1::Money { currency_code: "EUR".to_owned(), minor_units: -1 }),
        };
        assert_eq!(
            broken(accept(&from(ANN, to_oneself), send_credit)),
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
        let asked =
            |caller, token: &str, currency| check(&from(caller, list(token, currency)), list_wallet_entries);
        let page = asked(ANN, "", "EUR").unwrap();
        let entry = |sequence| WalletEntry {
            wallet: page.wallet,
            sequence,
            kind: Kind::Grant,
            amount: 1,
            balance_after: sequence,
            posting_id: Uuid::from_u128(9).into(),
            counterparty: None,
            created_at: time::OffsetDateTime::UNIX_EPOCH,
            hash: [0; 32],
        };
        let statement = |entries| Statement { entries, opening: 3, closing: 5 };
        let answer = entry_page(statement(vec![entry(5), entry(4)]), ANN, &page);
        assert_eq!(answer.entries.len(), 1);
        let next = asked(ANN, &answer.next_page_token, "EUR").unwrap();
        assert_eq!(next.below, Some(5));
        let last = entry_page(statement(vec![entry(4)]), ANN, &next);
        assert_eq!(last.next_page_token, "");
        let balances = [last.opening_balance, last.closing_balance].map(|money| money.unwrap().minor_units);
        assert_eq!(balances, [3, 5]);

        let invalid = pairs(&[("page_token", "INVALID_PAGE_TOKEN")]);
        assert_eq!(broken(asked(ANN, &answer.next_page_token, "USD")), invalid);
        assert_eq!(broken(asked(ANN, "00", "EUR")), invalid);
        assert_eq!(broken(asked(Uuid::from_u128(8).into(), &answer.next_page_token, "EUR")), invalid);
        let other = |change: fn(&mut ListWalletEntriesRequest)| {
            let mut request = list(&answer.next_page_token, "EUR");
            change(&mut request);
            broken(check(&from(ANN, request), list_wallet_entries))
        };
        assert_eq!(other(|request| request.set_kind(WireKind::Send)), invalid);
        let epoch = prost_types::Timestamp::default();
        assert_eq!(other(|request| request.start_time = Some(prost_types::Timestamp::default())), invalid);
        assert_eq!(other(|request| request.end_time = Some(prost_types::Timestamp::default())), invalid);
        let mut same = list("", "EUR");
        (same.start_time, same.end_time) = (Some(epoch), Some(epoch));
        assert!(check(&from(ANN, same), list_wallet_entries).is_ok(), "an empty time is one");
    }

    #[test]
    fn a_time_that_cannot_be_and_a_kind_that_is_none_are_told_at_once() {
        let timestamp = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
        let request = ListWalletEntriesRequest {
            kind: 6,
            start_time: timestamp(0, -1),
            end_time: timestamp(253_402_300_800, 0),
            ..list("", "EUR")
        };
        assert_eq!(
            broken(check(&from(ANN, request), list_wallet_entries)),
            pairs(&[
                ("kind", "UNKNOWN_ENUM_VALUE"),
                ("start_time", "INVALID_TIMESTAMP"),
                ("end_time", "INVALID_TIMESTAMP"),
            ])
        );
        let request = ListWalletEntriesRequest {
            start_time: timestamp(1, 1),
            end_time: timestamp(1, 0),
            ..list("", "EUR")
        };
        assert_eq!(
            broken(check(&from(ANN, request), list_wallet_entries)),
            pairs(&[("end_time", "BEFORE_START_TIME")])
        );
    }
}
