//! How many one may follow.

use super::*;

const MOST: usize = 10_000;

/// Has somebody follow that many who are nobody, as the database has it.
async fn give(harness: &Harness, follower: &Person, count: usize) {
    let follows = harness.database.collection::<Document>("follow");
    follows.insert_many((0..count).map(|_| follow_row(&follower.id, &missing()))).await.unwrap();
    let quotas = harness.database.collection::<Document>("follow_quota");
    let quota = doc! { "_id": uuid(&follower.id), "at_most": i64::try_from(count).unwrap() };
    quotas.insert_one(quota).await.unwrap();
}

async fn at_most(harness: &Harness, follower: &Person) -> i64 {
    let quotas = harness.database.collection::<Document>("follow_quota");
    let quota = quotas.find_one(doc! { "_id": uuid(&follower.id) }).await.unwrap();
    quota.unwrap().get_i64("at_most").unwrap()
}

/// Claim: nobody follows more than they may, also when calls race for the last place; and whoever stops, or is left without
/// whom they followed, has room again.
#[tokio::test]
async fn nobody_follows_more_than_they_may() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let others = futures_util::future::join_all((0..8).map(|_| harness.customer())).await;
    give(&harness, &ann, MOST - 3).await;
    let outcomes = futures_util::future::join_all(others.iter().map(|other| follow(&ann, other))).await;
    let full = refused(Code::FailedPrecondition, "FOLLOW_LIMIT", &[&format!("users/{}", ann.id)]);
    let (followed, left_out): (Vec<_>, Vec<_>) =
        others.iter().zip(outcomes).partition(|(_, outcome)| outcome.is_ok());
    assert_eq!(followed.len(), 3);
    for (_, outcome) in &left_out {
        assert_eq!(refusal(outcome.clone()), full);
    }
    let own = doc! { "follower_id": uuid(&ann.id) };
    let most = u64::try_from(MOST).unwrap();
    assert_eq!(harness.count("follow", own.clone()).await, most);
    assert_eq!(harness.events(FOLLOWED).await, 3);
    // One goes, one comes.
    let (gone, waiting) = (followed[0].0, left_out[0].0);
    unfollow(&ann, gone).await.unwrap();
    follow(&ann, waiting).await.unwrap();
    assert_eq!(refusal(follow(&ann, gone).await), full);
    assert_eq!(harness.count("follow", own.clone()).await, most);
    // What others have removed is found when it matters.
    let follows = harness.database.collection::<Document>("follow");
    let some: Vec<Document> = follows.find(own.clone()).limit(5).await.unwrap().try_collect().await.unwrap();
    let keys: Vec<_> = some.iter().map(|row| row["_id"].clone()).collect();
    follows.delete_many(doc! { "_id": { "$in": keys } }).await.unwrap();
    assert_eq!(at_most(&harness, &ann).await, 10_000);
    follow(&ann, gone).await.unwrap();
    assert_eq!(at_most(&harness, &ann).await, 9_996);
    assert_eq!(harness.count("follow", own).await, most - 4);
}
