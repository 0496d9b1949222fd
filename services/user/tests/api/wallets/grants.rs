//! Grants that are refused.

use std::collections::HashSet;

use api::user::v1::{GrantCreditRequest, GrantCreditResponse};
use bson::{Document, doc};
use futures_util::future::{join, join_all};
use tonic::{Code, Response, Status};
use uuid::Uuid;

use crate::harness::{Harness, Person, refusal, refused};
use crate::wallets::ledger::{assert_balanced, trial_balance};
use crate::wallets::{balance, deactivate, eur, grant, grant_of, is_to_be_repeated, nearly_full};

/// Claim: whatever becomes of the user, a grant that was refused makes no credit any more, not even when a copy of the
/// call comes late.
#[tokio::test]
async fn a_refused_grant_stays_refused_under_its_id_for_ever() {
    let harness = Harness::start().await;
    let (admin, ann, gone) = (harness.admin().await, harness.customer().await, harness.customer().await);
    let nobody = Person { id: Uuid::now_v7().to_string(), ..ann.clone() };
    deactivate(&harness, &gone).await;
    nearly_full(&harness, &ann, 5).await;
    let requests = [grant_of(&nobody, 1), grant_of(&gone, 1), grant_of(&ann, 6)];
    let mut refusals = Vec::new();
    for request in &requests {
        let status = grant(&admin, request).await.unwrap_err();
        assert!(status.metadata().get("idempotent-replay").is_none());
        refusals.push(refusal(Err::<(), _>(status)));
    }
    let reasons: Vec<&str> = refusals.iter().map(|(_, reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["USER_NOT_FOUND", "USER_DEACTIVATED", "BALANCE_LIMIT"]);
    // What was in the way is gone.
    let users = harness.database.collection::<Document>("user");
    let active = doc! { "$set": { "state": "active" } };
    users.update_one(doc! { "_id": bson::Uuid::parse_str(&gone.id).unwrap() }, active).await.unwrap();
    let wallets = harness.database.collection::<Document>("wallet");
    let empty = doc! { "$set": { "incoming": 0_i64, "reach": 0_i64 } };
    wallets.update_one(doc! { "_id.owner": bson::Uuid::parse_str(&ann.id).unwrap() }, empty).await.unwrap();
    for (request, first) in requests.iter().zip(&refusals) {
        let status = grant(&admin, request).await.unwrap_err();
        assert_eq!(status.metadata().get("idempotent-replay").unwrap(), "true");
        assert_eq!(refusal(Err::<(), _>(status)), *first);
        let other = GrantCreditRequest { amount: eur(2), ..request.clone() };
        let reused = refused(Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
        assert_eq!(refusal(grant(&admin, &other).await), reused);
        let row = doc! { "_id.request_id": bson::Uuid::parse_str(&request.request_id).unwrap() };
        let kept = harness.database.collection::<Document>("request").find_one(row).await.unwrap().unwrap();
        assert!(!kept.contains_key("expire_time"), "nothing deletes it");
    }
    assert_eq!((balance(&ann).await, balance(&gone).await), (0, 0));
    assert_eq!(harness.count("posting", doc! {}).await, 0);
    // Under a new id it is a new wish.
    grant(&admin, &grant_of(&gone, 1)).await.unwrap();
    assert_balanced(&trial_balance(&admin).await);
}

/// The two outcomes are rows of two collections; nothing but the wallet makes such calls meet.
#[tokio::test]
async fn one_request_id_has_one_outcome_even_while_the_user_comes_back() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    for _ in 0..5 {
        let ann = harness.customer().await;
        deactivate(&harness, &ann).await;
        let request = grant_of(&ann, 50);
        let calls = join_all((0..10).map(|_| async {
            loop {
                match grant(&admin, &request).await {
                    Err(status) if is_to_be_repeated(&status) => {}
                    outcome => return outcome,
                }
            }
        }));
        let comes_back = async {
            let id = doc! { "_id": bson::Uuid::parse_str(&ann.id).unwrap() };
            let active = doc! { "$set": { "state": "active" } };
            harness.database.collection::<Document>("user").update_one(id, active).await.unwrap();
        };
        let (outcomes, ()) = join(calls, comes_back).await;
        let told = |outcome: Result<Response<GrantCreditResponse>, Status>| match outcome {
            Ok(response) => response.into_inner().entry.unwrap().posting_id,
            Err(status) => format!("{:?}", status.code()),
        };
        let outcomes: HashSet<String> = outcomes.into_iter().map(told).collect();
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        let expected = if outcomes.contains("FailedPrecondition") { 0 } else { 50 };
        assert_eq!(balance(&ann).await, expected);
    }
    assert_balanced(&trial_balance(&admin).await);
}

#[tokio::test]
async fn a_grant_needs_an_active_user_with_room() {
    let harness = Harness::start().await;
    let (admin, ann, gone) = (harness.admin().await, harness.customer().await, harness.customer().await);
    let nobody = Person { id: Uuid::now_v7().to_string(), ..ann.clone() };
    assert_eq!(
        refusal(grant(&admin, &grant_of(&nobody, 1)).await),
        refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {}", nobody.id)])
    );
    deactivate(&harness, &gone).await;
    assert_eq!(
        refusal(grant(&admin, &grant_of(&gone, 1)).await),
        refused(Code::FailedPrecondition, "USER_DEACTIVATED", &[&format!("users/{}", gone.id)])
    );
    nearly_full(&harness, &ann, 5).await;
    let limit = refused(Code::FailedPrecondition, "BALANCE_LIMIT", &[&format!("users/{}", ann.id)]);
    assert_eq!(refusal(grant(&admin, &grant_of(&ann, 6)).await), limit);
    grant(&admin, &grant_of(&ann, 5)).await.unwrap();
    assert_eq!(refusal(grant(&admin, &grant_of(&ann, 1)).await), limit);
    assert_eq!(balance(&ann).await, 5);
    assert_balanced(&trial_balance(&admin).await);
}
