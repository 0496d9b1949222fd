//! Following somebody, and following them no more.

use super::*;
use api::user::v1::{UserFollowed, UserUnfollowed};

#[tokio::test]
async fn who_follows_twice_follows_once() {
    let harness = Harness::start().await;
    let (ann, ben) = (harness.customer().await, harness.customer().await);
    let request = following(&ben.id);
    let (edge, is_first) = send_follow(&ann, request.clone()).await.unwrap();
    assert!(!is_first);
    assert_eq!((&edge.follower_id, &edge.followee_id), (&ann.id, &ben.id));
    assert_eq!(send_follow(&ann, request).await.unwrap(), (edge.clone(), true));
    assert_eq!(send_follow(&ann, following(&ben.id)).await.unwrap(), (edge.clone(), false));
    let told: UserFollowed = told(&harness, &edge.id, FOLLOWED).await;
    let expected =
        UserFollowed { follow_id: edge.id.clone(), follower_id: ann.id.clone(), followee_id: ben.id.clone() };
    assert_eq!(told, expected);
    assert_eq!((harness.events(FOLLOWED).await, harness.count("follow", doc! {}).await), (1, 1));
    // The other way is another edge.
    let back = follow(&ben, &ann).await.unwrap();
    assert_ne!(back.id, edge.id);
    assert_told(&harness).await;
}

#[tokio::test]
async fn who_follows_again_makes_another_edge() {
    let harness = Harness::start().await;
    let (ann, ben) = (harness.customer().await, harness.customer().await);
    let first = follow(&ann, &ben).await.unwrap();
    let request = unfollowing(&ben.id);
    assert!(!send_unfollow(&ann, request.clone()).await.unwrap());
    let told: UserUnfollowed = told(&harness, &first.id, UNFOLLOWED).await;
    assert_eq!((&told.follower_id, &told.followee_id), (&ann.id, &ben.id));
    let second = follow(&ann, &ben).await.unwrap();
    assert_ne!(second.id, first.id);
    assert!(send_unfollow(&ann, request).await.unwrap(), "a repeat");
    assert_eq!(harness.count("follow", doc! { "follow_id": uuid(&second.id) }).await, 1, "removes no other");
    let made = (FOLLOWED.to_owned(), 1);
    assert_eq!(story(&harness, &first.id).await, [made.clone(), (UNFOLLOWED.to_owned(), 2)]);
    assert_eq!(story(&harness, &second.id).await, [made]);
    assert_told(&harness).await;
}

#[tokio::test]
async fn who_did_not_follow_stops_without_a_word() {
    let harness = Harness::start().await;
    let (ann, ben) = (harness.customer().await, harness.customer().await);
    let request = unfollowing(&ben.id);
    assert!(!send_unfollow(&ann, request.clone()).await.unwrap());
    assert!(!send_unfollow(&ann, unfollowing(&missing())).await.unwrap(), "nobody");
    assert_eq!(harness.events(UNFOLLOWED).await, 0);
    // What was answered without an effect has none later on either.
    follow(&ann, &ben).await.unwrap();
    assert!(send_unfollow(&ann, request).await.unwrap());
    assert_eq!(harness.count("follow", doc! {}).await, 1);
    assert_told(&harness).await;
}

#[tokio::test]
async fn nobody_follows_themselves_nobody_or_who_has_left() {
    let harness = Harness::start().await;
    let (ann, ben, cid) = (harness.customer().await, harness.customer().await, harness.customer().await);
    let same = refused(Code::InvalidArgument, "INVALID_REQUEST", &["user_id SAME_USER"]);
    assert_eq!(refusal(follow(&ann, &ann).await), same);
    assert_eq!(refusal(unfollow(&ann, &ann).await), same);
    let missing = missing();
    assert_eq!(refusal(send_follow(&ann, following(&missing)).await), no_user(&missing));
    let edge = follow(&cid, &ben).await.unwrap();
    deactivate(&ben).await;
    let gone = |person: &Person| {
        refused(Code::FailedPrecondition, "USER_DEACTIVATED", &[&format!("users/{}", person.id)])
    };
    assert_eq!(refusal(follow(&ann, &ben).await), gone(&ben));
    assert_eq!(refusal(follow(&ben, &ann).await), gone(&ben), "whose session has not ended yet");
    assert_eq!(follow(&cid, &ben).await.unwrap(), edge, "who did before still does");
    unfollow(&cid, &ben).await.unwrap();
    assert_eq!(refusal(follow(&cid, &ben).await), gone(&ben));
    assert_eq!(harness.count("follow", doc! {}).await, 0);
    assert_told(&harness).await;
}
