//! Claim: when MongoDB has committed and its acknowledgement gets lost, user service asks again rather than guess; while
//! it hears nothing, callers hear that the outcome is unknown. Repeating is safe: one effect, one answer.

use anyhow::{Context, Result};
use api::user::v1::{CreatePostRequest, GetUserRequest, GrantCreditRequest};
use testkit::ServiceName;
use testkit::client::{Person, eur, request_id};
use testkit::proxy::{Acknowledgements, Edge, Then};
use tests::people::{PRICE, credit, send};

use super::ground::{Ground, answered, is_unknown};
use super::payments::pays_once_whatever_is_lost;

const MONGO: Edge = Edge::Database(ServiceName::User);
/// More than user service asks for in the time that a call has.
const ALL: u64 = 1_000;
/// The commands that write the posting of a grant or of a sending, and a post.
const POSTING: &str = "posting,entry,";
const POST: &str = "bulkWrite(user,post";

async fn posts(person: &Person) -> Result<i64> {
    let request = GetUserRequest { user_id: person.user_id.clone(), read_mask: None };
    let answer = person.caller.users().get_user(request).await.context("GetUser")?;
    Ok(answer.into_inner().user.context("a user")?.post_count)
}

#[tokio::test]
async fn user_service_asks_again_when_an_acknowledgement_is_lost() -> Result<()> {
    let ground = Ground::take().await?;
    let author = ground.system.api.sign_up("Author").await?;
    let caller = ground.caller(&author)?;
    let request = CreatePostRequest {
        request_id: request_id(),
        title: "A title".to_owned(),
        body: "A body.".to_owned(),
        publish: true,
        ..CreatePostRequest::default()
    };
    let lost = ground.edge(MONGO).lose(Acknowledgements::of(POST));
    let first = caller.posts().create_post(request.clone()).await.context("nobody notices")?.into_inner();
    assert_eq!(lost.count(), 1);
    let again = caller.posts().create_post(request).await.context("the repeat")?.into_inner();
    assert_eq!((first, posts(&author).await?), (again, 1));
    ground.settled().await
}

#[tokio::test]
async fn a_call_whose_commit_is_never_acknowledged_is_answered_unknown_and_has_one_effect() -> Result<()> {
    let ground = Ground::take().await?;
    let (sender, receiver) =
        (ground.system.api.sign_up("Sender").await?, ground.system.api.sign_up("Receiver").await?);
    let (admin, caller) = (ground.caller(&ground.system.admin)?, ground.caller(&sender)?);
    let grant = GrantCreditRequest {
        request_id: request_id(),
        user_id: sender.user_id.clone(),
        amount: Some(eur(10 * PRICE)),
    };
    let sending = send(&receiver, PRICE);
    let post = CreatePostRequest {
        request_id: request_id(),
        title: "Once".to_owned(),
        body: "Once.".to_owned(),
        publish: true,
        ..CreatePostRequest::default()
    };
    let lost = ground.edge(MONGO).lose(Acknowledgements::of(POSTING).times(ALL));
    is_unknown(&admin.wallets().grant_credit(grant.clone()).await.expect_err("no acknowledgement"))?;
    assert!(lost.count() > 0);
    ground.edge(MONGO).heal();
    let granted = answered(async || admin.wallets().grant_credit(grant.clone()).await).await?;
    assert_eq!(granted, answered(async || admin.wallets().grant_credit(grant.clone()).await).await?);
    let lost = ground.edge(MONGO).lose(Acknowledgements::of(POSTING).times(ALL).then(Then::Silence));
    is_unknown(&caller.wallets().send_credit(sending.clone()).await.expect_err("no acknowledgement"))?;
    assert!(lost.count() > 0);
    let lost = ground.edge(MONGO).lose(Acknowledgements::of(POST).times(ALL));
    is_unknown(&caller.posts().create_post(post.clone()).await.expect_err("no acknowledgement"))?;
    assert!(lost.count() > 0);
    ground.edge(MONGO).heal();
    let sent = answered(async || caller.wallets().send_credit(sending.clone()).await).await?;
    assert_eq!(sent, answered(async || caller.wallets().send_credit(sending.clone()).await).await?);
    let posted = answered(async || caller.posts().create_post(post.clone()).await).await?;
    assert_eq!(posted, answered(async || caller.posts().create_post(post.clone()).await).await?);
    assert_eq!((credit(&sender).await?, credit(&receiver).await?), (9 * PRICE, PRICE));
    assert_eq!(posts(&sender).await?, 1);
    ground.settled().await
}

/// What of a payment is lost, the command in its transaction, and which one of those commands it is.
const STEPS_OF_A_PAYMENT: [(&str, &str, u64); 3] = [
    ("the reservation", "update(consumer_mark)", 1),
    ("the confirmation, or the statistics", "update(consumer_mark)", 2),
    ("the stamp", "update(outbox)", 1),
];

#[tokio::test]
async fn a_payment_completes_once_when_any_commit_of_its_wallet_is_not_acknowledged() -> Result<()> {
    let ground = Ground::take().await?;
    let steps = STEPS_OF_A_PAYMENT.map(|(step, text, from)| (step, Acknowledgements::of(text).from(from)));
    pays_once_whatever_is_lost(&ground, MONGO, &steps).await
}
