//! Statements of account: entries by kind and by time, with the balances at both ends.

use std::sync::Arc;

use api::user::v1::wallet_entry::Kind;
use api::user::v1::{ListWalletEntriesRequest, ListWalletEntriesResponse};
use api::violations::timestamp;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tonic::Code;
use types::ManualClock;

use crate::harness::{Harness, Person, refusal, refused};
use crate::wallets::{eur, grant, grant_of, send, send_of};

const START: OffsetDateTime = datetime!(2096-03-01 12:00 UTC);

/// Somebody with an entry an hour: +100, -1, +100, -2, ...
async fn book(hours: i64) -> (Harness, Person) {
    let clock = Arc::new(ManualClock::at(START));
    let harness = Harness::start_by(clock.clone()).await;
    let (admin, ann, bob) = (harness.admin().await, harness.customer().await, harness.customer().await);
    for hour in 0..hours {
        if hour % 2 == 0 {
            grant(&admin, &grant_of(&ann, 100)).await.unwrap();
        } else {
            send(&ann, &send_of(&bob, 1 + hour / 2)).await.unwrap();
        }
        clock.advance(Duration::HOUR);
    }
    (harness, ann)
}

fn asking(start: Option<i64>, end: Option<i64>, kind: Kind) -> ListWalletEntriesRequest {
    let hour = |hour| timestamp(START + Duration::hours(hour));
    ListWalletEntriesRequest {
        currency_code: "EUR".to_owned(),
        kind: kind.into(),
        start_time: start.map(hour),
        end_time: end.map(hour),
        ..ListWalletEntriesRequest::default()
    }
}

async fn page(ann: &Person, request: ListWalletEntriesRequest) -> ListWalletEntriesResponse {
    ann.caller.wallets().list_wallet_entries(request).await.unwrap().into_inner()
}

fn amounts(page: &ListWalletEntriesResponse) -> Vec<i64> {
    page.entries.iter().map(|entry| entry.amount.as_ref().unwrap().minor_units).collect()
}

fn balances(page: &ListWalletEntriesResponse) -> (i64, i64) {
    let units = |money: &Option<api::common::v1::Money>| money.as_ref().unwrap().minor_units;
    (units(&page.opening_balance), units(&page.closing_balance))
}

#[tokio::test]
async fn a_statement_has_what_was_between_two_times_and_the_balances_there() {
    let (_harness, ann) = book(6).await;
    let all = page(&ann, asking(None, None, Kind::Unspecified)).await;
    assert_eq!((amounts(&all), balances(&all)), (vec![-3, 100, -2, 100, -1, 100], (0, 294)));
    // The end is not part of it, the beginning is.
    let some = page(&ann, asking(Some(1), Some(4), Kind::Unspecified)).await;
    assert_eq!((amounts(&some), balances(&some)), (vec![-2, 100, -1], (100, 197)));
    // The balances are those of the time, whatever kind is listed.
    let sent = page(&ann, asking(Some(1), Some(4), Kind::Send)).await;
    assert_eq!((amounts(&sent), balances(&sent)), (vec![-2, -1], (100, 197)));
    let refunds = page(&ann, asking(None, None, Kind::Refund)).await;
    assert_eq!((amounts(&refunds), balances(&refunds)), (vec![], (0, 294)));
    for (start, end, balance) in [(-2, -1, 0), (3, 3, 199), (6, 9, 294)] {
        let nothing = page(&ann, asking(Some(start), Some(end), Kind::Unspecified)).await;
        assert_eq!((amounts(&nothing), balances(&nothing)), (vec![], (balance, balance)), "{start}");
    }
    let from = page(&ann, asking(Some(5), None, Kind::Unspecified)).await;
    assert_eq!((amounts(&from), balances(&from)), (vec![-3], (297, 294)));
}

/// However time is cut, each entry is in one piece, and each piece begins with what the one before ended with.
#[tokio::test]
async fn statements_of_adjacent_times_leave_nothing_out() {
    let (_harness, ann) = book(7).await;
    for width in 1..5 {
        let (mut balance, mut listed) = (0, 0);
        let mut hour = -1;
        while hour < 8 {
            let piece = page(&ann, asking(Some(hour), Some(hour + width), Kind::Unspecified)).await;
            let (opening, closing) = balances(&piece);
            assert_eq!(opening, balance, "{width} hours from {hour}");
            assert_eq!(opening + amounts(&piece).iter().sum::<i64>(), closing, "{width} hours from {hour}");
            (balance, listed, hour) = (closing, listed + piece.entries.len(), hour + width);
        }
        assert_eq!((listed, balance), (7, 394));
    }
}

/// Two replicas, the clock of one behind that of the other.
#[tokio::test]
async fn an_entry_by_a_clock_that_is_behind_is_of_the_time_that_the_wallet_has_come_to() {
    let clock = Arc::new(ManualClock::at(START));
    let harness = Harness::start_by(clock.clone()).await;
    let (admin, ann) = (harness.admin().await, harness.customer().await);
    grant(&admin, &grant_of(&ann, 100)).await.unwrap();
    clock.advance(-Duration::SECOND);
    grant(&admin, &grant_of(&ann, 10)).await.unwrap();
    let before = page(&ann, asking(None, Some(0), Kind::Unspecified)).await;
    assert_eq!((amounts(&before), balances(&before)), (vec![], (0, 0)));
    let after = page(&ann, asking(Some(0), None, Kind::Unspecified)).await;
    assert_eq!((amounts(&after), balances(&after)), (vec![10, 100], (0, 110)));
}

#[tokio::test]
async fn every_page_of_a_statement_has_its_balances_and_a_page_of_another_has_no_place_in_it() {
    let (_harness, ann) = book(9).await;
    let request = ListWalletEntriesRequest { page_size: 2, ..asking(Some(1), Some(8), Kind::Send) };
    let (mut token, mut sent, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let page =
            page(&ann, ListWalletEntriesRequest { page_token: token.clone(), ..request.clone() }).await;
        assert_eq!(balances(&page), (100, 390), "the time's, not the page's");
        sent.extend(amounts(&page));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        token = page.next_page_token;
    }
    assert_eq!((sent, pages), (vec![-4, -3, -2, -1], 2));
    let others = [asking(Some(1), Some(8), Kind::Grant), asking(Some(1), None, Kind::Send)];
    for other in others {
        let elsewhere = ListWalletEntriesRequest { page_token: token.clone(), ..other };
        assert_eq!(
            refusal(ann.caller.wallets().list_wallet_entries(elsewhere).await),
            refused(Code::InvalidArgument, "INVALID_REQUEST", &["page_token INVALID_PAGE_TOKEN"])
        );
    }
    assert_eq!(page(&ann, asking(None, None, Kind::Unspecified)).await.opening_balance, eur(0));
}
