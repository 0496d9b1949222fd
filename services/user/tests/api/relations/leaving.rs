//! What becomes of the likes of a deleted post.

use std::time::Duration;

use api::user::v1::DeletePostRequest;
use testkit::wait_until;

use super::*;

const WITHIN: Duration = Duration::from_secs(60);

/// Gives a post that many likes, as the database has them.
async fn give(harness: &Harness, post: &Post, count: usize) {
    let likes = harness.database.collection::<Document>("like");
    likes.insert_many((0..count).map(|_| like_row(&missing(), &post.id))).await.unwrap();
}

async fn gone(harness: &Harness, what: &str, collection: &str, filter: Document) {
    let is_gone = async || match harness.count(collection, filter.clone()).await {
        0 => Ok(()),
        count => Err(format!("{count} are there")),
    };
    wait_until(WITHIN, what, is_gone).await.unwrap();
}

/// Claim: the likes of a deleted post go, each with its event, and so do those that come after; those of other posts stay.
#[tokio::test]
async fn the_likes_of_a_deleted_post_go_and_so_do_those_that_were_on_their_way() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let (deleted, kept) = (write(&ann, true).await, write(&ann, true).await);
    give(&harness, &deleted, 1_203).await;
    give(&harness, &kept, 3).await;
    let request =
        DeletePostRequest { request_id: request_id(), post_id: deleted.id.clone(), ..Default::default() };
    ann.caller.posts().delete_post(request).await.unwrap();
    let of_deleted = doc! { "post_id": uuid(&deleted.id) };
    gone(&harness, "the likes to be gone", "like", of_deleted.clone()).await;
    assert_eq!(harness.events(UNLIKED).await, 1_203);
    assert_eq!(harness.count("outbox", doc! { "type": UNLIKED, "aggregate.version": 2_i64 }).await, 1_203);
    gone(&harness, "the first time to be noted", "deleted_post", doc! { "was_swept": { "$exists": false } })
        .await;
    // Some more, of calls that had read the post before.
    give(&harness, &deleted, 2).await;
    let waiting = harness.database.collection::<Document>("deleted_post");
    let soon = doc! { "$set": { "due_time": DateTime::from_millis(0) } };
    assert_eq!(waiting.update_many(doc! { "was_swept": true }, soon).await.unwrap().matched_count, 1);
    gone(&harness, "the last time", "deleted_post", doc! {}).await;
    assert_eq!(harness.count("like", of_deleted).await, 0);
    assert_eq!(harness.events(UNLIKED).await, 1_205);
    assert_eq!(harness.count("like", doc! { "post_id": uuid(&kept.id) }).await, 3);
}
