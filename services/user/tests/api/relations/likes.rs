//! Liking posts, and liking them no more.

use super::*;
use api::user::v1::{DeletePostRequest, PostLiked, PostUnliked};

async fn delete(author: &Person, post: &Post) {
    let request =
        DeletePostRequest { request_id: request_id(), post_id: post.id.clone(), ..Default::default() };
    author.caller.posts().delete_post(request).await.unwrap();
}

#[tokio::test]
async fn who_likes_twice_likes_once_and_who_likes_again_makes_another_edge() {
    let harness = Harness::start().await;
    let (ann, ben) = (harness.customer().await, harness.customer().await);
    let post = write(&ann, true).await;
    let request = liking(&post.id);
    let (first, is_replay) = send_like(&ben, request.clone()).await.unwrap();
    assert!(!is_replay);
    assert_eq!((&first.post_id, &first.user_id), (&post.id, &ben.id));
    assert_eq!(send_like(&ben, request).await.unwrap(), (first.clone(), true));
    assert_eq!(send_like(&ben, liking(&post.id)).await.unwrap(), (first.clone(), false));
    let liked: PostLiked = told(&harness, &first.id, LIKED).await;
    let expected = PostLiked {
        like_id: first.id.clone(),
        post_id: post.id.clone(),
        author_id: ann.id.clone(),
        user_id: ben.id.clone(),
    };
    assert_eq!(liked, expected);
    assert_eq!(harness.events(LIKED).await, 1);

    let request = unliking(&post.id);
    assert!(!send_unlike(&ben, request.clone()).await.unwrap());
    assert!(!unlike(&ben, &post).await.unwrap(), "no more there");
    let unliked: PostUnliked = told(&harness, &first.id, UNLIKED).await;
    assert_eq!((&unliked.author_id, &unliked.user_id), (&ann.id, &ben.id));
    let second = like(&ben, &post).await.unwrap();
    assert_ne!(second.id, first.id);
    assert!(send_unlike(&ben, request).await.unwrap(), "a repeat");
    assert_eq!(harness.count("like", doc! { "like_id": uuid(&second.id) }).await, 1, "removes no other");
    let made = (LIKED.to_owned(), 1);
    assert_eq!(story(&harness, &first.id).await, [made.clone(), (UNLIKED.to_owned(), 2)]);
    assert_eq!(story(&harness, &second.id).await, [made]);
    like(&ann, &post).await.unwrap();
    assert_eq!(
        harness.count("like", doc! { "post_id": uuid(&post.id) }).await,
        2,
        "authors like theirs, too"
    );
    assert_told(&harness).await;
}

#[tokio::test]
async fn only_what_is_published_is_liked() {
    let harness = Harness::start().await;
    let (ann, ben, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let (draft, shelved) = (write(&ann, false).await, write(&ann, true).await);
    let (of_ben, of_ann) = (like(&ben, &shelved).await.unwrap(), like(&ann, &shelved).await.unwrap());
    archive(&ann, &shelved).await;
    let missing = missing();
    assert_eq!(refusal(send_like(&ben, liking(&missing)).await), no_post(&missing));
    assert_eq!(refusal(like(&ben, &draft).await), no_post(&draft.id), "as if it were not there");
    assert_eq!(refusal(like(&ben, &shelved).await), no_post(&shelved.id), "also for who likes it");
    for (who, post) in [(&ann, &draft), (&admin, &draft), (&admin, &shelved)] {
        let state = refused(Code::FailedPrecondition, "INVALID_STATE", &[&format!("posts/{}", post.id)]);
        assert_eq!(refusal(like(who, post).await), state);
    }
    assert_eq!(like(&ann, &shelved).await.unwrap(), of_ann, "who likes it and may read it");
    // Whatever it has become, nobody has to go on liking it.
    assert!(!unlike(&ben, &shelved).await.unwrap());
    let unliked: PostUnliked = told(&harness, &of_ben.id, UNLIKED).await;
    assert_eq!(unliked.author_id, ann.id);
    assert!(!unlike(&ben, &draft).await.unwrap() && !send_unlike(&ben, unliking(&missing)).await.unwrap());
    assert_eq!(harness.events(UNLIKED).await, 1);
    assert_told(&harness).await;
}

#[tokio::test]
async fn a_deleted_post_is_still_unliked_by_who_wishes() {
    let harness = Harness::start().await;
    let (ann, ben) = (harness.customer().await, harness.customer().await);
    let post = write(&ann, true).await;
    let edge = like(&ben, &post).await.unwrap();
    delete(&ann, &post).await;
    assert_eq!(refusal(like(&ben, &post).await), no_post(&post.id));
    assert!(!unlike(&ben, &post).await.unwrap());
    // By the caller or by the service, which was first: there is one event either way.
    let unliked: PostUnliked = told(&harness, &edge.id, UNLIKED).await;
    assert_eq!((unliked.author_id.as_str(), &unliked.user_id), ("", &ben.id));
    assert_eq!(harness.count("like", doc! {}).await, 0);
    assert_told(&harness).await;
}
