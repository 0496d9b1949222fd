//! `StreamUsers`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::auth::v1::Role;
use api::user::v1::user::State;
use api::user::v1::{SnapshotUsersRequest, StreamUsersRequest, StreamUsersResponse, UserFilter};
use testkit::TestMongo;
use testkit::client::Caller;
use tonic::{Code, Status, Streaming};

use super::*;
use crate::faults::{Broken, proxy_to};

async fn begin(
    caller: &Caller,
    request: StreamUsersRequest,
) -> Result<Streaming<StreamUsersResponse>, Status> {
    Ok(caller.users().stream_users(request).await?.into_inner())
}

/// All that is still to come.
async fn rest(mut stream: Streaming<StreamUsersResponse>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        assert!((1..=500).contains(&message.users.len()));
        all.extend(ids(&message.users));
    }
    all
}

async fn whole(caller: &Caller, filter: UserFilter) -> Vec<String> {
    let request = StreamUsersRequest { filter: Some(filter), ..StreamUsersRequest::default() };
    rest(begin(caller, request).await.unwrap()).await
}

fn in_role(role: Role) -> UserFilter {
    UserFilter { roles: vec![role.into()], ..UserFilter::default() }
}

/// So many merchants, every ninth of them an admin instead, with gaps of days between some.
fn crowd(count: u32) -> Vec<Document> {
    let one = |number: u32| {
        let millis = LONG_AGO + i64::from(number) + i64::from(number / 300) * 86_400_000;
        let role = if number.is_multiple_of(9) { "admin" } else { "merchant" };
        with(user(number, "Crowd"), doc! { "_id": bson::Uuid::from(id_at(millis, number)), "role": role })
    };
    (0..count).map(one).collect()
}

fn ids_of(users: &[Document], role: &str) -> Vec<String> {
    users.iter().filter(|user| user.get_str("role").unwrap() == role).map(id).collect()
}

#[tokio::test]
async fn everybody_comes_once_in_the_order_of_their_ids() {
    let harness = Harness::start().await;
    let service = harness.session_service();
    assert_eq!(whole(&service, UserFilter::default()).await, Vec::<String>::new(), "nobody is there");
    let crowd = crowd(1300);
    insert(&harness.database, &crowd).await;
    let everybody: Vec<String> = crowd.iter().map(id).collect();
    assert_eq!(whole(&service, UserFilter::default()).await, everybody);
    assert_eq!(whole(&service, in_role(Role::Merchant)).await, ids_of(&crowd, "merchant"));
    assert_eq!(whole(&service, in_role(Role::Admin)).await, ids_of(&crowd, "admin"));
    assert_eq!(whole(&service, in_role(Role::Customer)).await, Vec::<String>::new());
    set(&harness, &everybody[7], doc! { "state": "deactivated" }).await;
    let gone = UserFilter { state: State::Deactivated.into(), ..UserFilter::default() };
    assert_eq!(whole(&service, gone).await, everybody[7..8]);
    let time = |user: &Document| {
        let millis = user.get_datetime("create_time").unwrap().timestamp_millis();
        Some(prost_types::Timestamp { seconds: millis / 1000, nanos: 0 })
    };
    let (from, to) = (time(&crowd[100]), time(&crowd[200]));
    let created = UserFilter { create_start_time: from, create_end_time: to, ..UserFilter::default() };
    assert_eq!(whole(&service, created.clone()).await, everybody[100..200]);
    let never = UserFilter { login_end_time: from, ..created };
    assert_eq!(
        whole(&service, never).await,
        everybody[100..200],
        "who never logged in did so before any time"
    );
    let snapshot = service.users().snapshot_users(SnapshotUsersRequest {}).await;
    assert!(snapshot.is_err(), "session service reads no snapshots");
    let mut snapshot =
        harness.order_service().users().snapshot_users(SnapshotUsersRequest {}).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(message) = snapshot.message().await.unwrap() {
        seen.extend(message.users);
    }
    assert_eq!(ids(&seen), everybody, "a snapshot is the same walk");
    let first = &seen[0];
    assert_eq!((first.email.as_str(), first.etag.as_str(), first.version), ("0@many.example", "1", 1));
}

/// Claim: whatever comes, goes and changes meanwhile, and wherever streams break off, whoever is there from the beginning
/// to the end comes exactly once.
#[tokio::test]
async fn who_is_there_throughout_comes_exactly_once_over_streams_that_break_off() {
    let harness = Harness::start().await;
    let (admin, other) = (harness.admin().await, harness.admin().await);
    let crowd = crowd(1800);
    insert(&harness.database, &crowd).await;
    let filter = Some(in_role(Role::Merchant));
    let merchants = ids_of(&crowd, "merchant");
    let (mut seen, mut resume_token, mut gone) = (Vec::new(), String::new(), Vec::new());
    for number in 0.. {
        let request = StreamUsersRequest {
            filter: filter.clone(),
            resume_token: resume_token.clone(),
            read_mask: mask(&["id"]),
        };
        let mut stream = begin(&admin.caller, request).await.unwrap();
        let Some(message) = stream.message().await.unwrap() else { break };
        seen.extend(ids(&message.users));
        resume_token = message.resume_token;
        // Somebody signs up among those who were passed and among those who come, and somebody is gone.
        for place in [0, 1799] {
            let between = id_at(LONG_AGO + i64::from(place), 5_000 + number);
            let newcomer = with(
                user(3_000 + number * 2 + u32::from(place > 0), "New"),
                doc! { "_id": bson::Uuid::from(between), "role": "merchant" },
            );
            insert(&harness.database, &[newcomer]).await;
        }
        let leaver = &merchants[1500 - usize::try_from(number).unwrap()];
        set(&harness, leaver, doc! { "state": "deactivated" }).await;
        gone.push(leaver.clone());
    }
    let throughout: Vec<&String> = merchants.iter().filter(|id| !gone.contains(id)).collect();
    let seen_of_them: Vec<&String> = seen.iter().filter(|id| throughout.contains(id)).collect();
    assert_eq!(seen_of_them, throughout);
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "nobody comes twice");
    let stolen = StreamUsersRequest { filter, resume_token, ..StreamUsersRequest::default() };
    let invalid = refused(Code::InvalidArgument, "INVALID_REQUEST", &["resume_token INVALID_RESUME_TOKEN"]);
    assert_eq!(refusal(begin(&other.caller, stolen.clone()).await), invalid);
    let widened = StreamUsersRequest { filter: None, ..stolen };
    assert_eq!(refusal(begin(&admin.caller, widened).await), invalid);
    let customer = harness.customer().await;
    let denied = begin(&customer.caller, StreamUsersRequest::default()).await;
    assert_eq!(refusal(denied), refused(Code::PermissionDenied, "PERMISSION_DENIED", &[]));
}

/// Claim: what the database forgets or cannot say now is asked for again, and the client hears nothing of it.
#[tokio::test]
async fn a_stream_goes_on_where_its_cursor_was_lost() {
    let broken = Broken::start().await;
    let crowd = crowd(1300);
    insert(&broken.harness.database, &crowd).await;
    let service = broken.harness.session_service();
    for how in [doc! { "errorCode": 43 }, doc! { "errorCode": 189 }, doc! { "closeConnection": true }] {
        let mut stream = begin(&service, StreamUsersRequest::default()).await.unwrap();
        let first = stream.message().await.unwrap().unwrap();
        broken.fail("find", 5, how.clone()).await;
        let seen: Vec<String> = ids(&first.users).into_iter().chain(rest(stream).await).collect();
        broken.mend().await;
        assert_eq!(seen, crowd.iter().map(id).collect::<Vec<_>>(), "{how}");
    }
    broken.end().await;
}

/// Claim: no more than two messages are read that nobody has taken, and none after the client is gone.
#[tokio::test]
async fn nothing_is_read_for_a_client_that_does_not_read_or_is_gone() {
    const STRETCHES: usize = 8;
    let mongo = TestMongo::create().await.unwrap();
    let (edge, url) = proxy_to(mongo.url()).await;
    let harness = Harness::start_on(mongo.urls(), &url, &[]).await;
    let ann = harness.customer().await;
    // Each says so much that a message is longer than what waits on the way.
    let bio = "\u{1f375}".repeat(500);
    let crowd: Vec<Document> = (0..u32::try_from(STRETCHES * 500).unwrap())
        .map(|number| with(user(number, "Crowd"), doc! { "role": "merchant", "profile": { "bio": &bio } }))
        .collect();
    insert(&harness.database, &crowd).await;
    let pages = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pages);
    edge.rewrite("find", move |answer| {
        let batch = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        if batch.is_ok_and(|batch| batch.len() > 400) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    // Calls that the service answers one after the other meanwhile: time enough to read on.
    let meanwhile = async || {
        for _ in 0..100 {
            super::super::get(&ann, &ann.id).await;
        }
        pages.load(Ordering::SeqCst)
    };
    let request =
        StreamUsersRequest { filter: Some(in_role(Role::Merchant)), ..StreamUsersRequest::default() };
    let service = harness.session_service();
    let mut stream = begin(&service, request.clone()).await.unwrap();
    stream.message().await.unwrap().unwrap();
    let read = meanwhile().await;
    assert!((1..=3).contains(&read), "{read} stretches for one message that was taken");
    drop(stream);
    let after = meanwhile().await;
    assert!(after <= read + 1, "{after} stretches for nobody, after {read}");
    assert_eq!(meanwhile().await, after, "and then none");
    assert_eq!(whole(&service, in_role(Role::Merchant)).await.len(), STRETCHES * 500);
    // Those at the beginning are narrow.
    assert!(pages.load(Ordering::SeqCst) >= after + STRETCHES - 2, "stretches are counted");
    edge.understood().unwrap();
}
