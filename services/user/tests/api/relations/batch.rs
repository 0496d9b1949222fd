//! What users and posts are to the caller.

use super::*;

async fn ask(
    by: &Person,
    user_ids: &[&str],
    post_ids: &[&str],
) -> Result<(Vec<(bool, bool)>, Vec<bool>), Status> {
    let texts = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let request = BatchGetRelationsRequest { user_ids: texts(user_ids), post_ids: texts(post_ids) };
    let answer = by.caller.relations().batch_get_relations(request).await?.into_inner();
    let users: Vec<&str> = answer.users.iter().map(|user| user.user_id.as_str()).collect();
    let posts: Vec<&str> = answer.posts.iter().map(|post| post.post_id.as_str()).collect();
    assert_eq!((users.as_slice(), posts.as_slice()), (user_ids, post_ids), "in the order of the request");
    let users = answer.users.iter().map(|user| (user.following, user.followed_by)).collect();
    Ok((users, answer.posts.iter().map(|post| post.liked).collect()))
}

#[tokio::test]
async fn the_caller_hears_what_others_are_to_them() {
    let harness = Harness::start().await;
    let (ann, ben, cid) = (harness.customer().await, harness.customer().await, harness.customer().await);
    follow(&ann, &ben).await.unwrap();
    follow(&ben, &ann).await.unwrap();
    follow(&cid, &ann).await.unwrap();
    let (liked, other) = (write(&ben, true).await, write(&ben, true).await);
    like(&ann, &liked).await.unwrap();
    like(&cid, &other).await.unwrap();
    let (missing, users) = (missing(), [&cid, &ann, &ben].map(|person| person.id.as_str()));
    let users = [users[0], users[1], users[2], &missing];
    let posts = [other.id.as_str(), &missing, &liked.id];
    let told = ask(&ann, &users, &posts).await.unwrap();
    let (nothing, both) = ((false, false), (true, true));
    assert_eq!(told, (vec![(false, true), nothing, both, nothing], vec![false, false, true]));
    let told = ask(&cid, &users, &posts).await.unwrap();
    assert_eq!(told, (vec![nothing, (true, false), nothing, nothing], vec![true, false, false]));
    assert_eq!(ask(&ann, &[], &[&liked.id]).await.unwrap(), (vec![], vec![true]));
    assert_eq!(ask(&ann, &[&ben.id], &[]).await.unwrap(), (vec![both], vec![]));
}

/// Claim: nobody learns from it that there is a post which they may not read.
#[tokio::test]
async fn a_post_that_is_not_for_the_caller_is_nothing_to_them() {
    let harness = Harness::start().await;
    let (ann, ben, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let (draft, shelved) = (write(&ann, false).await, write(&ann, true).await);
    for who in [&ann, &ben, &admin] {
        like(who, &shelved).await.unwrap();
    }
    archive(&ann, &shelved).await;
    let missing = missing();
    let posts = [draft.id.as_str(), &shelved.id, &missing];
    assert_eq!(ask(&ben, &[], &posts).await.unwrap().1, [false, false, false]);
    assert_eq!(ask(&ann, &[], &posts).await.unwrap().1, [false, true, false], "the author");
    assert_eq!(ask(&admin, &[], &posts).await.unwrap().1, [false, true, false]);
}

#[tokio::test]
async fn a_hundred_ids_are_asked_for_at_most_and_each_once() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let ids: Vec<String> = (0..101).map(|_| missing()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(ask(&ann, &ids[..60], &ids[60..100]).await.unwrap().1.len(), 40);
    let invalid = |violations: &[&str]| refused(Code::InvalidArgument, "INVALID_REQUEST", violations);
    assert_eq!(refusal(ask(&ann, &ids[..60], &ids[60..]).await), invalid(&["post_ids TOO_MANY"]));
    assert_eq!(refusal(ask(&ann, &ids, &ids).await), invalid(&["user_ids TOO_MANY"]));
    assert_eq!(ask(&ann, &ids[..100], &[]).await.unwrap().0.len(), 100);
    assert_eq!(refusal(ask(&ann, &[], &[]).await), invalid(&["user_ids REQUIRED"]));
    let twice = refusal(ask(&ann, &[ids[0], "x", ids[0]], &[ids[0], "", ids[0]]).await);
    let expected =
        ["user_ids[1] INVALID_ID", "user_ids[2] DUPLICATE", "post_ids[1] REQUIRED", "post_ids[2] DUPLICATE"];
    assert_eq!(twice, invalid(&expected));
}
