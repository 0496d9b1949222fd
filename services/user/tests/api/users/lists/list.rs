//! `ListUsers`.

use api::auth::v1::Role;
use api::user::v1::list_users_request::OrderBy;
use api::user::v1::user::State;
use api::user::v1::{ListUsersRequest, ListUsersResponse, UserFilter};
use prost_types::Timestamp;
use testkit::client::Caller;
use tonic::{Code, Status};

use super::*;

const ORDERS: [OrderBy; 4] =
    [OrderBy::CreateTimeDesc, OrderBy::CreateTimeAsc, OrderBy::DisplayName, OrderBy::LastLoginTime];

async fn page(caller: &Caller, request: ListUsersRequest) -> Result<ListUsersResponse, Status> {
    Ok(caller.users().list_users(request).await?.into_inner())
}

/// All pages, with what happens between them.
async fn pages(
    caller: &Caller,
    request: ListUsersRequest,
    page_size: i32,
    mut between: impl AsyncFnMut(usize),
) -> Vec<String> {
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    for number in 0.. {
        let request = ListUsersRequest { page_size, page_token, ..request.clone() };
        let answer = page(caller, request).await.unwrap();
        let count = usize::try_from(page_size).unwrap();
        assert!(
            answer.users.len() <= count && (answer.next_page_token.is_empty() || answer.users.len() == count)
        );
        listed.extend(ids(&answer.users));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
        between(number).await;
    }
    listed
}

async fn all(caller: &Caller, request: ListUsersRequest, page_size: i32) -> Vec<String> {
    pages(caller, request, page_size, async |_| {}).await
}

fn by(order: OrderBy, filter: UserFilter) -> ListUsersRequest {
    ListUsersRequest { filter: Some(filter), order_by: order.into(), ..ListUsersRequest::default() }
}

/// Merchants only, who are none of the people that call.
fn merchants() -> UserFilter {
    UserFilter { roles: vec![Role::Merchant.into()], ..UserFilter::default() }
}

fn second(number: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: LONG_AGO / 1000 + number, nanos: 0 })
}

/// Forty merchants, of whom many have a time or a name in common, and whom nothing sorts by chance.
fn crowd() -> Vec<Document> {
    let names = ["Zoe", "ZOË", "ann", "Ann", "ａｎｎ", "Ben", "山田", "élan"];
    let one = |number: u32| {
        let name = names[usize::try_from(number * 5 % 8).unwrap()];
        let time = |number: u32| DateTime::from_millis(LONG_AGO + i64::from(number) * 1000);
        let mut one =
            with(user(number, name), doc! { "role": "merchant", "create_time": time(number * 7 % 6) });
        if !number.is_multiple_of(3) {
            one.insert("last_login_time", time(number * 11 % 5));
        }
        one
    };
    (0..40).map(one).collect()
}

/// The ids in an order, by the rule and not by an index.
fn sorted(order: OrderBy, users: &[Document]) -> Vec<String> {
    let millis =
        |user: &Document, field: &str| user.get_datetime(field).ok().map(|time| time.timestamp_millis());
    let key = |user: &Document| match order {
        OrderBy::DisplayName => (
            None,
            Some(user.get_document("search").unwrap().get_str("name_key").unwrap().to_owned()),
            id(user),
        ),
        OrderBy::LastLoginTime => (millis(user, "last_login_time"), None, id(user)),
        _ => (millis(user, "create_time"), None, id(user)),
    };
    let mut users: Vec<&Document> = users.iter().collect();
    users.sort_by_key(|user| key(user));
    if matches!(order, OrderBy::CreateTimeDesc | OrderBy::LastLoginTime) {
        users.reverse();
    }
    users.into_iter().map(id).collect()
}

#[tokio::test]
async fn users_are_listed_in_each_order_whatever_the_size_of_a_page() {
    let harness = Harness::start().await;
    let admin = harness.admin().await.caller;
    let crowd = crowd();
    insert(&harness.database, &crowd).await;
    for order in ORDERS {
        let expected = sorted(order, &crowd);
        for size in [1, 3, 7, 50] {
            assert_eq!(all(&admin, by(order, merchants()), size).await, expected, "{order:?} by {size}");
        }
        let both = UserFilter { roles: vec![Role::Admin.into(), Role::Merchant.into()], ..merchants() };
        let among: Vec<String> = all(&admin, by(order, both), 3).await;
        assert_eq!(among.len(), 41);
        let merchants: Vec<String> = among.into_iter().filter(|id| expected.contains(id)).collect();
        assert_eq!(merchants, expected, "{order:?} among others");
    }
    assert_eq!(
        all(&admin, ListUsersRequest { filter: Some(merchants()), ..ListUsersRequest::default() }, 50).await,
        sorted(OrderBy::CreateTimeDesc, &crowd)
    );
    for user in &crowd[..3] {
        set(&harness, &id(user), doc! { "state": "deactivated" }).await;
    }
    let gone = UserFilter { state: State::Deactivated.into(), ..UserFilter::default() };
    for order in ORDERS {
        assert_eq!(all(&admin, by(order, gone.clone()), 2).await, sorted(order, &crowd[..3]), "{order:?}");
        assert_eq!(all(&admin, by(order, merchants()), 9).await, sorted(order, &crowd[3..]), "{order:?}");
    }
}

#[tokio::test]
async fn a_range_of_times_has_its_beginning_and_not_its_end() {
    let harness = Harness::start().await;
    let admin = harness.admin().await.caller;
    let crowd = crowd();
    insert(&harness.database, &crowd).await;
    let within = |field: &str, from: i64, to: i64, missing: bool| -> Vec<Document> {
        let is_within = |user: &&Document| match user.get_datetime(field) {
            Ok(time) => ((LONG_AGO + from * 1000)..(LONG_AGO + to * 1000)).contains(&time.timestamp_millis()),
            Err(_) => missing,
        };
        crowd.iter().filter(is_within).cloned().collect()
    };
    let half = second(1).map(|time| Timestamp { nanos: 500_000, ..time });
    for (start, end, expected) in [
        (second(1), second(4), within("create_time", 1, 4, false)),
        (second(2), None, within("create_time", 2, 1000, false)),
        (None, second(2), within("create_time", -1, 2, false)),
        (half, None, within("create_time", 2, 1000, false)),
        (second(3), second(3), Vec::new()),
    ] {
        for order in [OrderBy::CreateTimeDesc, OrderBy::CreateTimeAsc] {
            let filter = UserFilter { create_start_time: start, create_end_time: end, ..merchants() };
            for size in [2, 50] {
                let listed = all(&admin, by(order, filter.clone()), size).await;
                assert_eq!(listed, sorted(order, &expected), "{order:?} {start:?} {end:?}");
            }
        }
    }
    for (start, end, expected) in [
        (None, second(3), within("last_login_time", -1, 3, true)),
        (second(1), second(3), within("last_login_time", 1, 3, false)),
        (second(2), None, within("last_login_time", 2, 1000, false)),
    ] {
        let filter = UserFilter { login_start_time: start, login_end_time: end, ..merchants() };
        for size in [2, 50] {
            let listed = all(&admin, by(OrderBy::LastLoginTime, filter.clone()), size).await;
            assert_eq!(listed, sorted(OrderBy::LastLoginTime, &expected), "{start:?} {end:?} by {size}");
        }
    }
}

#[tokio::test]
async fn who_changes_between_pages_takes_nobody_elses_place() {
    let harness = Harness::start().await;
    let admin = harness.admin().await.caller;
    for order in ORDERS {
        let users = harness.database.collection::<Document>("user");
        users.delete_many(doc! { "role": "merchant" }).await.unwrap();
        let crowd = crowd();
        insert(&harness.database, &crowd).await;
        let expected = sorted(order, &crowd);
        // One of those who were listed goes to the end, one of those who come goes to the beginning, one is gone.
        let (first, last, gone) = (&expected[1], &expected[38], &expected[20]);
        let moved = [first, last, gone];
        let listed = pages(&admin, by(order, merchants()), 3, async |number| {
            if number == 1 {
                let named = |name: &str, time: i64| {
                    let time = DateTime::from_millis(LONG_AGO + time * 1000);
                    doc! { "display_name": name, "search.name_key": name, "create_time": time, "last_login_time": time }
                };
                let is_down = matches!(order, OrderBy::CreateTimeDesc | OrderBy::LastLoginTime);
                let (to_end, to_beginning) = if is_down { (-100, 100) } else { (100, -100) };
                set(&harness, first, named("zzz", to_end)).await;
                set(&harness, last, named("aaa", to_beginning)).await;
                set(&harness, gone, doc! { "state": "deactivated" }).await;
            }
        })
        .await;
        let others = |ids: Vec<String>| ids.into_iter().filter(|id| !moved.contains(&id)).collect::<Vec<_>>();
        assert_eq!(others(listed), others(expected.clone()), "{order:?}");
    }
}

#[tokio::test]
async fn pages_are_skipped_and_lists_are_counted() {
    let harness = Harness::start().await;
    let admin = harness.admin().await.caller;
    let crowd = crowd();
    insert(&harness.database, &crowd).await;
    for order in ORDERS {
        let expected = sorted(order, &crowd);
        let request =
            ListUsersRequest { skip: 30, page_size: 4, show_total_size: true, ..by(order, merchants()) };
        let first = page(&admin, request.clone()).await.unwrap();
        assert_eq!(ids(&first.users), expected[30..34]);
        assert_eq!((first.total_size, first.total_size_is_minimum), (40, false));
        let next =
            ListUsersRequest { page_token: first.next_page_token, skip: 0, page_size: 50, ..request.clone() };
        let next = page(&admin, next).await.unwrap();
        assert_eq!((ids(&next.users), next.total_size), (expected[34..].to_vec(), 40));
        let behind = page(&admin, ListUsersRequest { skip: 10_000, ..request }).await.unwrap();
        assert_eq!((behind.users, behind.next_page_token), (Vec::new(), String::new()));
    }
    let uncounted = page(&admin, by(OrderBy::DisplayName, merchants())).await.unwrap();
    assert_eq!((uncounted.total_size, uncounted.total_size_is_minimum), (0, false));
    let filter = UserFilter { login_end_time: second(2), ..merchants() };
    let request = ListUsersRequest { show_total_size: true, ..by(OrderBy::LastLoginTime, filter) };
    let counted = page(&admin, request).await.unwrap();
    assert_eq!(usize::try_from(counted.total_size).unwrap(), counted.users.len());
}

#[tokio::test]
async fn everybody_sees_what_is_theirs_to_see_and_no_more_than_they_want() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let denied = refused(Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    assert_eq!(refusal(page(&ann.caller, ListUsersRequest::default()).await), denied);
    for (caller, viewer) in [(&admin.caller, Some(&admin)), (&harness.session_service(), None)] {
        let listed = page(caller, ListUsersRequest::default()).await.unwrap().users;
        assert_eq!(ids(&listed), [admin.id.clone(), ann.id.clone()]);
        for user in listed {
            let whole = match viewer {
                Some(viewer) => super::super::get(viewer, &user.id).await,
                None => harness.user(&user.id).await,
            };
            assert_eq!(user, whole);
        }
    }
    let names =
        ListUsersRequest { read_mask: mask(&["display_name"]), ..by(OrderBy::LastLoginTime, merchants()) };
    insert(&harness.database, &[with(user(1, "Mia"), doc! { "role": "merchant" })]).await;
    let listed = page(&admin.caller, names).await.unwrap().users;
    assert_eq!(listed, [User { display_name: "Mia".to_owned(), ..User::default() }]);
}

#[tokio::test]
async fn a_list_is_asked_for_by_its_rules() {
    let harness = Harness::start().await;
    let (admin, other) = (harness.admin().await.caller, harness.admin().await.caller);
    insert(&harness.database, &crowd()).await;
    let broken = |violations: &[&str]| refused(Code::InvalidArgument, "INVALID_REQUEST", violations);
    let request = ListUsersRequest { page_size: 2, ..by(OrderBy::DisplayName, merchants()) };
    let page_token = page(&admin, request.clone()).await.unwrap().next_page_token;
    let behind = ListUsersRequest { page_token: page_token.clone(), ..request };
    assert_eq!(refusal(page(&other, behind.clone()).await), broken(&["page_token INVALID_PAGE_TOKEN"]));
    let skipped = ListUsersRequest { skip: 1, ..behind.clone() };
    assert_eq!(refusal(page(&admin, skipped).await), broken(&["skip WITH_PAGE_TOKEN"]));
    let active = UserFilter { state: State::Deactivated.into(), ..merchants() };
    for request in [
        ListUsersRequest { order_by: OrderBy::CreateTimeAsc.into(), ..behind.clone() },
        ListUsersRequest { filter: Some(active), ..behind.clone() },
        ListUsersRequest { filter: None, ..behind.clone() },
        ListUsersRequest { page_token: format!("{page_token}00"), ..behind },
    ] {
        assert_eq!(refusal(page(&admin, request).await), broken(&["page_token INVALID_PAGE_TOKEN"]));
    }
    let created = UserFilter { create_start_time: second(1), create_end_time: second(2), ..merchants() };
    let logged_in = UserFilter { login_end_time: second(2), ..merchants() };
    let of_creation = ["filter.create_start_time OTHER_ORDER", "filter.create_end_time OTHER_ORDER"];
    let of_login = ["filter.login_end_time OTHER_ORDER"];
    for (order, filter, violations) in [
        (OrderBy::DisplayName, &created, &of_creation[..]),
        (OrderBy::LastLoginTime, &created, &of_creation),
        (OrderBy::DisplayName, &logged_in, &of_login),
        (OrderBy::CreateTimeAsc, &logged_in, &of_login),
        (OrderBy::Unspecified, &logged_in, &of_login),
    ] {
        assert_eq!(refusal(page(&admin, by(order, filter.clone())).await), broken(violations), "{order:?}");
    }
}
