//! Handing over all posts of somebody, a hundred in a call.

use api::user::v1::{PostTransferred, TransferAllPostsRequest, TransferAllPostsResponse};
use bson::DateTime;
use tonic::{Code, Status};
use uuid::Uuid;

use super::*;

fn all(from: Option<&Person>, to: &Person) -> TransferAllPostsRequest {
    TransferAllPostsRequest {
        request_id: request_id(),
        from_user_id: from.map(|person| person.id.clone()).unwrap_or_default(),
        to_user_id: to.id.clone(),
    }
}

async fn transfer(
    by: &Person,
    request: TransferAllPostsRequest,
) -> Result<(TransferAllPostsResponse, bool), Status> {
    let response = by.caller.posts().transfer_all_posts(request).await?;
    Ok((response.get_ref().clone(), is_replay(&response)))
}

async fn deactivate(person: &Person) {
    let gone =
        DeactivateUserRequest { request_id: request_id(), user_id: person.id.clone(), ..Default::default() };
    person.caller.users().deactivate_user(gone).await.unwrap();
}

/// Gives somebody that many posts in every state, as the database has them.
async fn give(harness: &Harness, author: &Person, count: usize) {
    let id = bson::Uuid::parse_str(&author.id).unwrap();
    let now = DateTime::now();
    let post = |number: usize| {
        let mut post = doc! {
            "_id": bson::Uuid::from(Uuid::now_v7()),
            "author_id": id,
            "title": format!("Post {number}"),
            "body": "Kept.",
            "version": 1_i64,
            "create_time": now,
            "update_time": now,
        };
        let state = ["draft", "published", "archived"][number % 3];
        post.insert("state", state);
        if state != "draft" {
            post.insert("publish_time", now);
        }
        post
    };
    let posts = harness.database.collection::<Document>("post");
    posts.insert_many((0..count).map(post)).await.unwrap();
    let users = harness.database.collection::<Document>("user");
    let more = doc! { "$inc": { "post_count": i64::try_from(count).unwrap() } };
    users.update_one(doc! { "_id": id }, more).await.unwrap();
}

#[tokio::test]
async fn posts_go_a_hundred_at_a_time_until_there_are_no_more() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    give(&harness, &ann, 205).await;
    let mut counts = Vec::new();
    loop {
        let request = all(None, &bob);
        let (answer, _) = transfer(&ann, request.clone()).await.unwrap();
        assert_eq!(transfer(&ann, request).await.unwrap(), (answer.clone(), true), "a repeat moves no more");
        counts.push(answer.post_ids.len());
        assert_counts(&harness, &[&ann, &bob]).await;
        let events = harness.events("user.v1.PostTransferred").await;
        assert_eq!(events, u64::try_from(counts.iter().sum::<usize>()).unwrap());
        if !answer.has_more {
            break;
        }
    }
    assert_eq!(counts, [100, 100, 5]);
    assert_eq!(harness.count("post", doc! { "body": "Kept.", "version": 2_i64 }).await, 205);
    for (state, count) in [("draft", 69), ("published", 68), ("archived", 68)] {
        assert_eq!(harness.count("post", doc! { "state": state }).await, count, "{state}");
    }
    let told: PostTransferred = last_event(&harness, "user.v1.PostTransferred").await;
    assert_eq!((&told.from_user_id, &told.to_user_id), (&ann.id, &bob.id));
    assert!(told.labels.is_some());
    let etag = harness.user(&bob.id).await.etag;
    assert_eq!(transfer(&ann, all(None, &bob)).await.unwrap().0, TransferAllPostsResponse::default());
    assert_eq!(harness.user(&bob.id).await.etag, etag, "nothing is nothing");
}

#[tokio::test]
async fn users_hand_over_their_own_and_admins_those_of_who_is_gone() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    give(&harness, &ann, 2).await;
    let denied = refused(Code::PermissionDenied, "NOT_POST_AUTHOR", &[]);
    assert_eq!(refusal(transfer(&bob, all(Some(&ann), &bob)).await), denied);
    assert_eq!(refusal(transfer(&admin, all(Some(&ann), &bob)).await), denied);
    deactivate(&ann).await;
    assert_eq!(refusal(transfer(&bob, all(Some(&ann), &bob)).await), denied);
    let deactivated = refused(Code::FailedPrecondition, "USER_DEACTIVATED", &[&format!("users/{}", ann.id)]);
    assert_eq!(refusal(transfer(&ann, all(None, &bob)).await), deactivated);
    assert_eq!(refusal(transfer(&bob, all(None, &ann)).await), deactivated);
    let (answer, _) = transfer(&admin, all(Some(&ann), &bob)).await.unwrap();
    assert_eq!((answer.post_ids.len(), answer.has_more), (2, false));
    assert_counts(&harness, &[&ann, &bob]).await;
}

#[tokio::test]
async fn both_are_there_and_are_two() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let same = refused(Code::InvalidArgument, "INVALID_REQUEST", &["to_user_id SAME_USER"]);
    assert_eq!(refusal(transfer(&ann, all(None, &ann)).await), same);
    assert_eq!(refusal(transfer(&admin, all(Some(&ann), &ann)).await), same);
    let missing = "01920000-0000-7000-8000-000000000001";
    let nobody = refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {missing}")]);
    let to = TransferAllPostsRequest { to_user_id: missing.into(), ..all(None, &ann) };
    assert_eq!(refusal(transfer(&ann, to).await), nobody);
    let from = TransferAllPostsRequest { from_user_id: missing.into(), ..all(None, &ann) };
    assert_eq!(refusal(transfer(&admin, from).await), nobody);
}

/// Claim: what is handed over while its author writes, deletes and hands over is handed over once, and all is counted.
#[tokio::test]
async fn a_post_that_changes_meanwhile_is_counted_once() {
    let harness = Harness::start().await;
    let (ann, bob, cid) = (harness.customer().await, harness.customer().await, harness.customer().await);
    let (mine, _) = write(&ann, published()).await.unwrap();
    let (other, _) = write(&ann, draft()).await.unwrap();
    give(&harness, &ann, 20).await;
    let (all_gone, _, _, _) = tokio::join!(
        transfer(&ann, all(None, &bob)),
        hand_over(&ann, handing(&mine, &cid)),
        delete(&ann, &other),
        write(&ann, draft()),
    );
    all_gone.unwrap();
    assert_counts(&harness, &[&ann, &bob, &cid]).await;
    let events = harness.events("user.v1.PostTransferred").await;
    let theirs = harness.count("post", doc! { "version": 2_i64 }).await;
    assert_eq!(events, theirs, "one for each post that went to somebody");
}
