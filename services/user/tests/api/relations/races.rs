//! Many at once.

use futures_util::future::join_all;
use testkit::TestMongo;

use super::*;
use crate::faults::through_a_proxy;

const CLIENTS: usize = 64;

/// The commands of a transaction that gets through at once.
fn exchanges(reads: &[&str], write: &str) -> Vec<String> {
    reads.iter().chain(&[write, "commitTransaction"]).map(|text| (*text).to_owned()).collect()
}

/// Claim: who follow one person, or like one post, do not meet. Each gets through with the first try, since the transaction
/// writes nothing but what is of the edge and of the caller.
#[tokio::test]
async fn sixty_four_follow_one_person_and_like_one_post_and_none_waits_for_another() {
    let mongo = TestMongo::create().await.unwrap();
    let (edge, url) = through_a_proxy(&mongo).await;
    let harness = Harness::start_on(mongo.urls(), &url, &[]).await;
    let star = harness.customer().await;
    let post = write(&star, true).await;
    let mut fans = Vec::new();
    for _ in 0..CLIENTS / 8 {
        fans.extend(join_all((0..8).map(|_| harness.customer())).await);
    }
    let follows = join_all(fans.iter().map(|fan| follow(fan, &star)));
    let likes = join_all(fans.iter().map(|fan| like(fan, &post)));
    let (follows, likes) = tokio::join!(follows, likes);
    assert!(follows.iter().all(Result::is_ok) && likes.iter().all(Result::is_ok), "{follows:?} {likes:?}");
    let count = u64::try_from(CLIENTS).unwrap();
    assert_eq!(harness.count("follow", doc! { "followee_id": uuid(&star.id) }).await, count);
    assert_eq!(harness.count("like", doc! { "post_id": uuid(&post.id) }).await, count);
    assert_eq!((harness.events(FOLLOWED).await, harness.events(LIKED).await), (count, count));
    assert_told(&harness).await;
    let all = edge.transactions("find(request)");
    for (at, expected) in [
        (
            "find(follow)",
            exchanges(
                &["find(request)", "find(follow)", "find(user)", "find(follow_quota)"],
                "bulkWrite(follow_quota,follow,outbox,request)",
            ),
        ),
        (
            "find(like)",
            exchanges(&["find(request)", "find(post)", "find(like)"], "bulkWrite(like,outbox,request)"),
        ),
    ] {
        let tries: Vec<_> = all.iter().filter(|commands| commands.iter().any(|one| one == at)).collect();
        assert!(tries.iter().all(|commands| **commands == expected), "{tries:?}");
        assert_eq!(tries.len(), CLIENTS, "{at}");
    }
    edge.understood().unwrap();
}

/// Claim: of calls of one user about one person or post at once, each is answered, and what is there in the end is what the
/// events tell.
#[tokio::test]
async fn following_and_stopping_at_once_leaves_what_the_events_tell() {
    let harness = Harness::start().await;
    let (ann, ben) = (harness.customer().await, harness.customer().await);
    let post = write(&ben, true).await;
    for _ in 0..5 {
        let follows = join_all((0..4).map(|_| follow(&ann, &ben)));
        let unfollows = join_all((0..4).map(|_| unfollow(&ann, &ben)));
        let likes = join_all((0..4).map(|_| like(&ann, &post)));
        let unlikes = join_all((0..4).map(|_| unlike(&ann, &post)));
        let (follows, unfollows, likes, unlikes) = tokio::join!(follows, unfollows, likes, unlikes);
        assert!(follows.iter().all(Result::is_ok) && unfollows.iter().all(Result::is_ok));
        assert!(likes.iter().all(Result::is_ok) && unlikes.iter().all(Result::is_ok));
        assert_told(&harness).await;
        let edges = harness.count("follow", doc! {}).await;
        assert!(edges <= 1);
        let quota = harness.database.collection::<Document>("follow_quota");
        let quota = quota.find_one(doc! { "_id": uuid(&ann.id) }).await.unwrap();
        let at_most = quota.map_or(0, |quota| quota.get_i64("at_most").unwrap());
        assert_eq!(u64::try_from(at_most).unwrap(), edges);
    }
}

/// Claim: who follows one person with many requests at once follows once.
#[tokio::test]
async fn many_requests_of_one_caller_make_one_edge() {
    let harness = Harness::start().await;
    let (ann, ben) = (harness.customer().await, harness.customer().await);
    let post = write(&ben, true).await;
    let (follows, likes) = tokio::join!(
        join_all((0..10).map(|_| follow(&ann, &ben))),
        join_all((0..10).map(|_| like(&ann, &post)))
    );
    let first = follows[0].clone().unwrap();
    assert!(follows.iter().all(|follow| follow.as_ref().unwrap() == &first));
    let first = likes[0].clone().unwrap();
    assert!(likes.iter().all(|like| like.as_ref().unwrap() == &first));
    assert_eq!((harness.events(FOLLOWED).await, harness.events(LIKED).await), (1, 1));
    assert_told(&harness).await;
}
