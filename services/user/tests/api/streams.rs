//! What this service tells the others, and what it makes of what they tell.

use std::time::Duration;

use api::event::v1::{HeadRequest, ListParkedRequest, ReplayRequest, ResolveRequest};
use api::order::v1::{OrderCancelled, OrderPaid, OrderPlaced, OrderTransferred};
use api::user::v1::{OrderStatistics, SnapshotUsersRequest, SnapshotUsersResponse, User, UserCreated};
use bson::{Document, doc};
use prost::Message as _;
use testkit::ServiceName;
use tonic::Code;
use uuid::Uuid;

use crate::harness::{Harness, Person, refusal, refused};

const WITHIN: Duration = Duration::from_secs(10);

fn placed(customer: &str) -> OrderPlaced {
    OrderPlaced { customer_id: customer.to_owned(), ..OrderPlaced::default() }
}

async fn statistics_become(harness: &Harness, person: &Person, expected: OrderStatistics) {
    testkit::wait_until(WITHIN, "the statistics", async || {
        let seen = harness.user(&person.id).await.order_statistics.unwrap();
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn orders_are_summed_up_for_whoever_placed_paid_and_owns_them() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    for _ in 0..3 {
        harness.orders.tell(&placed(&ann.id));
    }
    harness.orders.tell(&OrderPaid { customer_id: ann.id.clone(), ..OrderPaid::default() });
    harness.orders.tell(&OrderCancelled { customer_id: ann.id.clone(), ..OrderCancelled::default() });
    let (from_user_id, to_user_id) = (ann.id.clone(), bob.id.clone());
    harness.orders.tell(&OrderTransferred { from_user_id, to_user_id, ..OrderTransferred::default() });
    let expected = OrderStatistics { placed_count: 3, paid_count: 1, cancelled_count: 1, owned_count: 1 };
    statistics_become(&harness, &ann, expected).await;
    let received = OrderStatistics { owned_count: 1, ..OrderStatistics::default() };
    statistics_become(&harness, &bob, received).await;
    assert_eq!(harness.user(&ann.id).await.etag, "1", "an etag is about what somebody edits");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_parked_and_the_others_go_on() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    harness.orders.tell(&placed("not an id"));
    harness.orders.tell(&placed(&ann.id));
    let expected = OrderStatistics { placed_count: 1, owned_count: 1, ..OrderStatistics::default() };
    statistics_become(&harness, &ann, expected).await;
    let request =
        ListParkedRequest { consumer: "user.statistics".to_owned(), ..ListParkedRequest::default() };
    let parked = admin.caller.event_admin(ServiceName::User).list_parked(request.clone()).await.unwrap();
    let parked = parked.into_inner().events;
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].event.as_ref().unwrap().r#type, "order.v1.OrderPlaced");
    assert!(parked[0].error.contains("not an id"), "{}", parked[0].error);
    let denied = refused(Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    assert_eq!(refusal(ann.caller.event_admin(ServiceName::User).list_parked(request).await), denied);
}

#[tokio::test]
async fn a_sign_up_reaches_whoever_follows_the_stream_and_has_no_contact_data() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let mut service = harness.order_service().events(ServiceName::User);
    let request = ReplayRequest { stream: "user".to_owned(), follow: true, ..ReplayRequest::default() };
    let mut replay = service.replay(request).await.unwrap().into_inner();
    let event = loop {
        let message = tokio::time::timeout(WITHIN, replay.message()).await.unwrap().unwrap().unwrap();
        if let Some(event) = message.events.into_iter().next() {
            break event;
        }
    };
    assert_eq!(event.r#type, "user.v1.UserCreated");
    let Some(api::event::v1::cloud_event::Data::BinaryData(payload)) = &event.data else {
        panic!("{event:?}")
    };
    assert_eq!(UserCreated::decode(payload.clone()).unwrap().user_id, ann.id);
    assert!(!format!("{event:?}").contains(&ann.email));
    assert!(event.attributes.contains_key("traceparent") && event.attributes.contains_key("requestid"));

    let head =
        service.head(HeadRequest { stream: "user".to_owned() }).await.unwrap().into_inner().head.unwrap();
    assert_eq!((head.position, head.event_id.as_str()), (1, event.id.as_str()));
    let resolved = service.resolve(ResolveRequest { event_id: event.id }).await.unwrap().into_inner();
    assert_eq!((resolved.position, resolved.epoch), (1, head.epoch));
    let denied = refused(Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    let mut as_ann = ann.caller.events(ServiceName::User);
    assert_eq!(refusal(as_ann.head(HeadRequest { stream: "user".to_owned() }).await), denied);
}

#[tokio::test]
async fn a_snapshot_notes_the_head_first_and_has_every_user() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let users = harness.database.collection::<Document>("user");
    let row = users.find_one(doc! {}).await.unwrap().unwrap();
    let more = (0..1_001).map(|number| {
        let mut row = row.clone();
        row.insert("_id", bson::Uuid::from(Uuid::now_v7()));
        row.insert("email_key", format!("{number}@example.com"));
        row
    });
    users.insert_many(more).await.unwrap();
    testkit::wait_until(WITHIN, "the stamp of the sign-up", async || {
        match harness.count("outbox", doc! { "pending": true }).await {
            0 => Ok(()),
            left => Err(format!("{left} left")),
        }
    })
    .await
    .unwrap();

    let mut snapshot =
        harness.order_service().users().snapshot_users(SnapshotUsersRequest {}).await.unwrap().into_inner();
    let first = snapshot.message().await.unwrap().unwrap();
    assert!(
        first.position == 1
            && !first.epoch.is_empty()
            && !first.event_id.is_empty()
            && first.users.is_empty()
    );
    let mut seen: Vec<User> = Vec::new();
    while let Some(SnapshotUsersResponse { epoch, users, .. }) = snapshot.message().await.unwrap() {
        assert!(epoch.is_empty() && !users.is_empty());
        seen.extend(users);
    }
    assert_eq!(seen.len(), 1_002);
    assert!(seen.windows(2).all(|pair| pair[0].id < pair[1].id), "each once, in order");
    let found = seen.iter().find(|user| user.id == ann.id).unwrap();
    assert_eq!((found.email.as_str(), found.version), (ann.email.as_str(), 1));
    let caller = harness.session_service().users().snapshot_users(SnapshotUsersRequest {}).await;
    let denied = refused(Code::PermissionDenied, "CALLER_NOT_ALLOWED", &[]);
    assert_eq!(refusal(caller.map(drop)), denied);
}
