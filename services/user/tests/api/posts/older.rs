//! Posts of the release before states, which processes of that release go on writing while this one rolls out.

use std::time::Duration;

use api::user::v1::post::State;
use api::user::v1::{ListPostsRequest, Post};
use bson::DateTime;
use testkit::{TestMongo, wait_until};
use uuid::Uuid;

use super::*;

/// Longer than the worker pauses.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

fn older(author: &Person, millis: i64) -> Document {
    let time = DateTime::from_millis(millis);
    doc! {
        "_id": bson::Uuid::from(Uuid::now_v7()),
        "author_id": bson::Uuid::parse_str(&author.id).unwrap(),
        "title": "Old tea",
        "body": "Old.",
        "version": 3_i64,
        "create_time": time,
        "update_time": time,
    }
}

async fn listed(reader: &Person, author: &Person) -> Vec<Post> {
    let request = ListPostsRequest { author_id: author.id.clone(), ..ListPostsRequest::default() };
    let page = reader.caller.posts().list_posts(request).await.unwrap().into_inner();
    page.posts.into_iter().map(|listed| listed.post.unwrap()).collect()
}

#[tokio::test]
async fn an_older_post_was_published_when_it_was_created() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let posts = harness.database.collection::<Document>("post");
    let users = harness.database.collection::<Document>("user");
    let counted = doc! { "$set": { "post_count": 1_i64 } };
    let by_id = doc! { "_id": bson::Uuid::parse_str(&ann.id).unwrap() };
    users.update_one(by_id, counted).await.unwrap();
    let old = older(&ann, 1_700_000_000_000);
    let id = old.get("_id").cloned().unwrap();
    posts.insert_one(old).await.unwrap();
    let id = posts.find_one(doc! { "_id": id }).await.unwrap().unwrap();
    let id = bson::deserialize_from_bson::<bson::Uuid>(id.get("_id").cloned().unwrap()).unwrap().to_string();
    let post = look(&bob, &id).await.unwrap();
    assert_eq!(
        (post.state(), post.publish_time, &*post.slug),
        (State::Published, post.create_time, &*post.id)
    );
    let (archived, _) = archive(&ann, &post).await.unwrap();
    let expected = Post {
        state: State::Archived.into(),
        etag: "4".into(),
        update_time: archived.update_time,
        ..post.clone()
    };
    assert_eq!(archived, expected);
    assert_eq!(read(&ann, &post).await, archived, "what it was read as is kept");
}

/// Claim: those that are there at the start, more than a batch of them, and those that an older process writes later are
/// all found by the lists in the end; neither their etags nor the stream tell of it.
#[tokio::test]
async fn older_posts_come_into_the_lists() {
    let mongo = TestMongo::create().await.unwrap();
    let first = Harness::start_on(mongo.urls(), mongo.url(), &[]).await;
    let ann = first.customer().await;
    drop(first);
    let harness = {
        let database = crate::harness::database(mongo.urls()).await;
        let posts = database.collection::<Document>("post");
        let many = (0..1200).map(|number| older(&ann, 1_700_000_000_000 + number));
        posts.insert_many(many).await.unwrap();
        Harness::start_on(mongo.urls(), mongo.url(), &[]).await
    };
    let reader = harness.customer().await;
    let filled = |count: u64| {
        let harness = &harness;
        wait_until(FOUND_WITHIN, "all posts have a state", async move || {
            let with = doc! { "state": "published", "$expr": { "$eq": ["$publish_time", "$create_time"] } };
            match harness.count("post", with).await {
                found if found == count => Ok(()),
                found => Err(format!("{found} of {count}")),
            }
        })
    };
    filled(1200).await.unwrap();
    let posts = harness.database.collection::<Document>("post");
    posts.insert_one(older(&ann, 1_800_000_000_000)).await.unwrap();
    filled(1201).await.unwrap();
    let newest = listed(&reader, &ann).await;
    assert_eq!((newest.len(), newest[0].publish_time.unwrap().seconds), (50, 1_800_000_000));
    assert!(newest.iter().all(|post| post.etag == "3" && post.slug == post.id));
    assert_eq!(harness.count("outbox", doc! { "aggregate.type": "post" }).await, 0);
}
