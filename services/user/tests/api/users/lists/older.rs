//! Users of the release before search keys, and what processes of that release go on changing while this one rolls out.

use std::time::Duration;

use api::user::v1::SearchUsersRequest;
use testkit::{TestMongo, wait_until};

use super::*;

/// Longer than the job pauses.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

fn older(number: u32, name: &str) -> Document {
    let mut older = user(number, name);
    older.remove("search");
    older
}

async fn becomes(harness: &Harness, filter: Document, count: u64) {
    let done = wait_until(FOUND_WITHIN, "users can be found", async || {
        match harness.count("user", filter.clone()).await {
            found if found == count => Ok(()),
            found => Err(format!("{found} of {count}")),
        }
    });
    done.await.unwrap();
}

/// Claim: those who are there at the start, more than a batch of them, those whom an older process signs up later, and those
/// whom it renames are found in the end; neither their etags nor the stream tell of it.
#[tokio::test]
async fn older_users_are_found_and_renamed_ones_by_their_new_names() {
    let mongo = TestMongo::create().await.unwrap();
    user_service::migrate(&crate::harness::mongo_config(&mongo.urls().migrate)).await.unwrap();
    let database = crate::harness::database(mongo.urls()).await;
    let many: Vec<Document> = (0..1200).map(|number| older(number, &format!("Ünal {number}"))).collect();
    insert(&database, &many).await;
    let harness = Harness::start_on(mongo.urls(), mongo.url(), &[]).await;
    let reader = harness.customer().await;
    let find = async |name_prefix: &str| -> Vec<User> {
        let request = SearchUsersRequest { name_prefix: name_prefix.to_owned(), ..Default::default() };
        let answer = reader.caller.users().search_users(request).await.unwrap().into_inner();
        answer.users.into_iter().map(|found| found.user.unwrap()).collect()
    };
    becomes(&harness, doc! { "search.name_words": "unal" }, 1200).await;
    let found = find("unal 1199").await;
    assert_eq!(ids(&found), [id(&many[1199])]);
    assert_eq!((found[0].etag.as_str(), found[0].version), ("1", 1));
    assert_eq!(harness.count("outbox", doc! { "type": "user.v1.UserUpdated" }).await, 0);

    // A release before sets what it knows, and one before that writes the whole document.
    let now = || DateTime::now();
    let renamed =
        doc! { "display_name": "Renamed", "version": 2_i64, "event_version": 2_i64, "update_time": now() };
    set(&harness, &id(&many[3]), renamed).await;
    let replaced = with(older(4, "Replaced"), doc! { "version": 2_i64, "update_time": now() });
    let users = harness.database.collection::<Document>("user");
    users.replace_one(doc! { "_id": replaced.get("_id") }, replaced.clone()).await.unwrap();
    let signed_up = with(older(5_000, "Signed up"), doc! { "update_time": now() });
    insert(&harness.database, std::slice::from_ref(&signed_up)).await;
    for (name, who, etag) in
        [("renamed", &many[3], "2"), ("replaced", &many[4], "2"), ("signed up", &signed_up, "1")]
    {
        becomes(&harness, doc! { "search.name_key": name }, 1).await;
        let found = find(name).await;
        assert_eq!((ids(&found), found[0].etag.as_str()), (vec![id(who)], etag), "{name}");
    }
    assert_eq!(find("unal 3").await.iter().filter(|user| user.display_name == "Ünal 3").count(), 0);
}
