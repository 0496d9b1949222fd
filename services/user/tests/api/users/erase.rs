//! What is left of a person in the database, and what is removed after the answer.

use std::sync::Arc;
use std::time::Duration;

use api::user::v1::{
    ChangeUserRoleRequest, CreatePostRequest, DeleteUserRequest, PostDeleted, Profile, UpdatePostRequest,
    User,
};
use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use testkit::client::request_id;
use testkit::wait_until;
use time::macros::datetime;
use tonic::Code;
use types::ManualClock;
use uuid::Uuid;

use super::delete::{delete, deletion, tell};
use super::payloads;
use crate::harness::{Harness, PASSWORD, Person, refusal, refused, sign_up};

const SOON: Duration = Duration::from_secs(30);

/// Ahead of MongoDB's clock, by which answers are deleted.
fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(datetime!(2096-03-01 12:00 UTC)))
}

/// The collections in which these bytes are somewhere, the outbox left out.
async fn traces(harness: &Harness, canary: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in harness.database.list_collection_names().await.unwrap() {
        if name == "outbox" {
            continue;
        }
        let rows = harness.database.collection::<bson::RawDocumentBuf>(&name).find(doc! {}).await.unwrap();
        let rows: Vec<bson::RawDocumentBuf> = rows.try_collect().await.unwrap();
        let has = |bytes: &[u8]| bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        if rows.iter().any(|row| has(row.as_bytes())) {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// Waits until the first round is over, or the second.
async fn erased(harness: &Harness, left: u64) {
    wait_until(SOON, "what is left to be removed", async || {
        let first = harness.count("erasure", doc! { "is_second": false }).await;
        let all = harness.count("erasure", doc! {}).await;
        if first == 0 && all == left { Ok(()) } else { Err(format!("{first} of {all}")) }
    })
    .await
    .unwrap();
}

/// Nobody removes anything until somebody takes this away.
async fn hold(harness: &Harness) {
    let lease = doc! {
        "_id": "erasure",
        "owner": bson::Uuid::new(),
        "lease_until": bson::DateTime::from_millis(4_000_000_000_000),
        "renewed_at": bson::DateTime::now(),
    };
    let leases = harness.database.collection::<Document>("worker_lease");
    leases.delete_one(doc! { "_id": "erasure" }).await.unwrap();
    leases.insert_one(lease).await.unwrap();
}

async fn let_go(harness: &Harness) {
    harness
        .database
        .collection::<Document>("worker_lease")
        .delete_one(doc! { "_id": "erasure" })
        .await
        .unwrap();
}

async fn post(author: &Person, title: &str, publish: bool) -> String {
    let request = CreatePostRequest {
        request_id: request_id(),
        title: title.to_owned(),
        body: format!("{title} canarybody"),
        publish,
        ..CreatePostRequest::default()
    };
    author.caller.posts().create_post(request).await.unwrap().into_inner().post.unwrap().id
}

#[tokio::test]
async fn nothing_of_the_person_is_in_any_collection_but_the_claim_of_the_username() {
    let harness = Harness::start_by(clock()).await;
    let admin = harness.admin().await;
    let email = format!("canary{}@example.com", Uuid::new_v4().simple());
    let request = sapling(&email);
    let user = harness.sign_up(request.clone()).await.unwrap().into_inner().user.unwrap();
    let ann = harness.log_in(&user.id, &email, api::auth::v1::Role::Customer);
    let url = |what: &str| format!("https://example.com/canary{what}");
    let profile = Profile {
        given_name: "Canarygiven".to_owned(),
        family_name: "Canaryfamily".to_owned(),
        bio: "Canarybio".to_owned(),
        avatar_url: url("avatar"),
        twitter: url("twitter"),
        facebook: url("facebook"),
        linkedin: url("linkedin"),
        ..Profile::default()
    };
    let told = User { username: "canaryhat".to_owned(), profile: Some(profile), ..User::default() };
    tell(&ann, told, &["username", "profile"]).await;
    // Their answers show the user too, each under its own caller.
    let role = api::auth::v1::Role::Merchant.into();
    let user_id = ann.id.clone();
    let changed = ChangeUserRoleRequest { request_id: request_id(), user_id, role, etag: String::new() };
    admin.caller.users().change_user_role(changed.clone()).await.unwrap();
    post(&ann, "Canarytitle", true).await;
    let draft = post(&ann, "Canarydraft", false).await;
    let edit = UpdatePostRequest {
        request_id: request_id(),
        post_id: draft,
        post: Some(api::user::v1::Post { excerpt: "canaryexcerpt".to_owned(), ..Default::default() }),
        update_mask: Some(api::update_mask::FieldMask { paths: vec!["excerpt".to_owned()] }),
        etag: String::new(),
    };
    admin.caller.posts().update_post(edit.clone()).await.unwrap();
    let of_person = [
        email.as_str(),
        "Canaryshown",
        "Canarygiven",
        "Canaryfamily",
        "Canarybio",
        "canaryavatar",
        "canarytwitter",
        "canaryfacebook",
        "canarylinkedin",
        "canaryhat",
    ];
    for canary in of_person {
        let found = traces(&harness, canary).await;
        assert!(
            found.contains(&"user".to_owned()) && found.contains(&"request".to_owned()),
            "{canary}: {found:?}"
        );
    }
    for canary in ["canarybody", "canaryexcerpt", "Canarydraft"] {
        assert_eq!(traces(&harness, canary).await, ["post", "request"], "{canary}");
    }

    delete(&ann, DeleteUserRequest { delete_posts: true, ..deletion(&ann) }).await.unwrap();
    erased(&harness, 1).await;
    for canary in of_person {
        let expected: &[&str] = if canary == "canaryhat" { &["username"] } else { &[] };
        assert_eq!(traces(&harness, canary).await, expected, "{canary}");
    }
    for canary in ["canarybody", "canaryexcerpt", "Canarydraft", "Canarytitle", "canarydraft"] {
        assert_eq!(traces(&harness, canary).await, [""; 0], "{canary}");
    }
    // Others are as they were.
    assert!(!traces(&harness, &admin.email).await.is_empty());
    // What is left of answers is that they were given.
    let gone = refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {}", ann.id)]);
    assert_eq!(refusal(harness.sign_up(request).await), gone);
    assert_eq!(refusal(admin.caller.users().change_user_role(changed).await), gone);
    let subject = format!("post {}", edit.post_id);
    let gone = refused(Code::NotFound, "POST_NOT_FOUND", &[&subject]);
    assert_eq!(refusal(admin.caller.posts().update_post(edit).await), gone);
}

fn sapling(email: &str) -> api::user::v1::CreateUserRequest {
    api::user::v1::CreateUserRequest { display_name: "Canaryshown".to_owned(), ..sign_up(email) }
}

/// Deleting the answers would have the repeat sign the person up anew.
#[tokio::test]
async fn a_repeat_of_what_showed_the_person_hears_that_nobody_is_there_from_the_first_moment() {
    let harness = Harness::start_by(clock()).await;
    hold(&harness).await;
    let email = format!("{}@example.com", Uuid::new_v4().simple());
    let request = sign_up(&email);
    let user = harness.sign_up(request.clone()).await.unwrap().into_inner().user.unwrap();
    let ann = harness.log_in(&user.id, &email, api::auth::v1::Role::Customer);
    delete(&ann, deletion(&ann)).await.unwrap();
    let gone = refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {}", ann.id)]);
    let kept = doc! { "outcome.user": { "$exists": true } };
    for left in [1, 0] {
        assert_eq!(harness.count("request", kept.clone()).await, left, "answers that show the person");
        assert_eq!(refusal(harness.sign_up(request.clone()).await), gone);
        let other =
            api::user::v1::CreateUserRequest { password: "another evening".repeat(2), ..request.clone() };
        assert_eq!(refusal(harness.sign_up(other).await), gone, "nothing is kept to tell the two apart by");
        let_go(&harness).await;
        erased(&harness, 1).await;
    }
    assert_eq!(harness.count("user", doc! {}).await, 1);
    // Whoever has the address now is somebody else, whom repeats do not touch.
    let new = harness.sign_up(sign_up(&email)).await.unwrap().into_inner().user.unwrap();
    assert_ne!(new.id, ann.id);
    assert_eq!(refusal(harness.sign_up(request).await), gone);
}

#[tokio::test]
async fn posts_go_if_asked_for_each_with_its_event_and_what_came_late_goes_ten_seconds_later() {
    const POSTS: u32 = 1_050;
    let clock = clock();
    let harness = Harness::start_by(Arc::clone(&clock) as _).await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let (kept, draft) = (post(&bob, "Coffee", true).await, post(&ann, "Milk", false).await);
    let template = harness.database.collection::<Document>("post");
    let id = bson::Uuid::parse_str(&draft).unwrap();
    let row = template.find_one(doc! { "_id": id }).await.unwrap().unwrap();
    let another = || {
        let mut row = row.clone();
        row.insert("_id", bson::Uuid::from(Uuid::now_v7()));
        row.remove("slug");
        row
    };
    template.insert_many((1..POSTS).map(|_| another())).await.unwrap();
    let owner = doc! { "_id": bson::Uuid::parse_str(&ann.id).unwrap() };
    let users = harness.database.collection::<Document>("user");
    users.update_one(owner.clone(), doc! { "$set": { "post_count": i64::from(POSTS) } }).await.unwrap();

    delete(&ann, DeleteUserRequest { delete_posts: true, ..deletion(&ann) }).await.unwrap();
    erased(&harness, 1).await;
    let of_ann = doc! { "author_id": bson::Uuid::parse_str(&ann.id).unwrap() };
    assert_eq!(harness.count("post", of_ann.clone()).await, 0);
    let told = payloads::<PostDeleted>(&harness).await;
    assert_eq!(told.len(), POSTS as usize);
    assert!(told.iter().all(|event| event.author_id == ann.id && event.post_id != kept));
    assert_eq!(harness.user(&ann.id).await.post_count, 0);
    assert_eq!(harness.count("post_slug", doc! { "_id": "milk" }).await, 0, "a draft's slug is free");
    assert_eq!(harness.count("post", doc! {}).await, 1);

    // As by a call that was on its way.
    template.insert_one(another()).await.unwrap();
    users.update_one(owner, doc! { "$set": { "post_count": 1_i64 } }).await.unwrap();
    clock.advance(time::Duration::seconds(9));
    assert_eq!(harness.count("erasure", doc! { "is_second": true }).await, 1);
    clock.advance(time::Duration::seconds(1));
    erased(&harness, 0).await;
    assert_eq!(harness.count("post", of_ann).await, 0);
    assert_eq!(payloads::<PostDeleted>(&harness).await.len(), POSTS as usize + 1);
}

/// What no program may do by mistake: the database does not take it.
#[tokio::test]
async fn a_tombstone_takes_nothing_of_a_person() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    delete(&ann, deletion(&ann)).await.unwrap();
    let users = harness.database.collection::<Document>("user");
    let id = doc! { "_id": bson::Uuid::parse_str(&ann.id).unwrap() };
    for set in [
        doc! { "email": "ann@example.com" },
        doc! { "display_name": "Ann" },
        doc! { "username": "ann" },
        doc! { "profile": { "bio": "Tea." } },
        doc! { "last_login_time": bson::DateTime::now() },
    ] {
        let refused = users.update_one(id.clone(), doc! { "$set": &set }).await;
        assert!(refused.is_err(), "{set}");
    }
    let alive = harness.customer().await;
    let id = doc! { "_id": bson::Uuid::parse_str(&alive.id).unwrap() };
    for set in [doc! { "email": "" }, doc! { "display_name": "" }] {
        assert!(users.update_one(id.clone(), doc! { "$set": &set }).await.is_err(), "{set}");
    }
    let login = api::user::v1::VerifyPasswordRequest { email: alive.email, password: PASSWORD.to_owned() };
    harness.session_service().users().verify_password(login).await.unwrap();
}
