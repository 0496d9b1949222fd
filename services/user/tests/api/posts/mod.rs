//! Writing posts, changing them, and handing them over.

mod lists;
mod older;
mod slugs;
mod states;
mod transfer_all;

use api::update_mask::FieldMask;
use api::user::v1::{
    ArchivePostRequest, CreatePostRequest, DeactivateUserRequest, DeletePostRequest, GetPostRequest, Post,
    PublishPostRequest, TransferPostRequest, UpdatePostRequest,
};
use bson::{Document, doc};
use futures_util::future::join_all;
use prost::Message;
use testkit::client::request_id;
use tonic::{Code, Status};

use crate::harness::{Harness, Person, is_replay, refusal, refused};

fn draft() -> CreatePostRequest {
    CreatePostRequest {
        request_id: request_id(),
        title: "Tea".into(),
        body: "Water,\n\tthen leaves.".into(),
        ..CreatePostRequest::default()
    }
}

/// One that everybody may read.
fn published() -> CreatePostRequest {
    CreatePostRequest { publish: true, ..draft() }
}

async fn write(author: &Person, request: CreatePostRequest) -> Result<(Post, bool), Status> {
    let response = author.caller.posts().create_post(request).await?;
    Ok((response.get_ref().post.clone().unwrap(), is_replay(&response)))
}

async fn read(reader: &Person, post: &Post) -> Post {
    look(reader, &post.id).await.unwrap()
}

async fn look(reader: &Person, id: &str) -> Result<Post, Status> {
    let request = GetPostRequest { post_id: id.to_owned() };
    Ok(uncounted(reader.caller.posts().get_post(request).await?.into_inner().post.unwrap()))
}

/// A post as who changes one is answered with it.
fn uncounted(post: Post) -> Post {
    assert!(post.counts.is_some(), "{post:?}");
    Post { counts: None, ..post }
}

async fn publish(by: &Person, post: &Post) -> Result<(Post, bool), Status> {
    let request =
        PublishPostRequest { request_id: request_id(), post_id: post.id.clone(), ..Default::default() };
    let response = by.caller.posts().publish_post(request).await?;
    Ok((response.get_ref().post.clone().unwrap(), is_replay(&response)))
}

async fn archive(by: &Person, post: &Post) -> Result<(Post, bool), Status> {
    let request =
        ArchivePostRequest { request_id: request_id(), post_id: post.id.clone(), ..Default::default() };
    let response = by.caller.posts().archive_post(request).await?;
    Ok((response.get_ref().post.clone().unwrap(), is_replay(&response)))
}

async fn delete(by: &Person, post: &Post) -> Result<bool, Status> {
    let request =
        DeletePostRequest { request_id: request_id(), post_id: post.id.clone(), ..Default::default() };
    Ok(is_replay(&by.caller.posts().delete_post(request).await?))
}

/// A change of the fields that are named, to what is in the post.
fn changing(post: &Post, paths: &[&str], to: Post) -> UpdatePostRequest {
    UpdatePostRequest {
        request_id: request_id(),
        post_id: post.id.clone(),
        post: Some(to),
        update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        etag: String::new(),
    }
}

/// The last event of a type.
async fn last_event<M: Message + Default>(harness: &Harness, event_type: &str) -> M {
    let events = harness.database.collection::<Document>("outbox");
    let find = events.find_one(doc! { "type": event_type }).sort(doc! { "_id": -1 });
    let event = find.await.unwrap().unwrap();
    M::decode(event.get_binary_generic("payload").unwrap().as_slice()).unwrap()
}

fn not_found(what: &str) -> (Code, String, Vec<String>) {
    refused(Code::NotFound, "POST_NOT_FOUND", &[&format!("post {what}")])
}

fn handing(post: &Post, to: &Person) -> TransferPostRequest {
    TransferPostRequest {
        request_id: request_id(),
        post_id: post.id.clone(),
        to_user_id: to.id.clone(),
        etag: String::new(),
    }
}

async fn hand_over(by: &Person, request: TransferPostRequest) -> Result<(Post, bool), Status> {
    let response = by.caller.posts().transfer_post(request).await?;
    Ok((response.get_ref().post.clone().unwrap(), is_replay(&response)))
}

fn renaming(post: &Post, title: &str) -> UpdatePostRequest {
    UpdatePostRequest {
        request_id: request_id(),
        post_id: post.id.clone(),
        // The body is not in the mask, so it stays.
        post: Some(Post { title: title.to_owned(), body: "Ignored.".to_owned(), ..Post::default() }),
        update_mask: Some(FieldMask { paths: vec!["title".to_owned()] }),
        etag: String::new(),
    }
}

async fn update(by: &Person, request: UpdatePostRequest) -> Result<(Post, bool), Status> {
    let response = by.caller.posts().update_post(request).await?;
    Ok((response.get_ref().post.clone().unwrap(), is_replay(&response)))
}

/// Whoever's count is not that of the posts that name them was counted wrong.
async fn assert_counts(harness: &Harness, people: &[&Person]) {
    for person in people {
        let id = bson::Uuid::parse_str(&person.id).unwrap();
        let owned = harness.count("post", doc! { "author_id": id }).await;
        assert_eq!(harness.user(&person.id).await.post_count, i64::try_from(owned).unwrap());
    }
}

#[tokio::test]
async fn a_post_is_written_once_and_counted() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let request = published();
    let answers = join_all((0..10).map(|_| write(&ann, request.clone()))).await;
    let posts: Vec<Post> = answers.iter().map(|answer| answer.as_ref().unwrap().0.clone()).collect();
    assert!(posts.iter().all(|post| *post == posts[0]));
    assert_eq!(answers.iter().filter(|answer| !answer.as_ref().unwrap().1).count(), 1);
    assert_eq!((posts[0].author_id.as_str(), posts[0].etag.as_str()), (ann.id.as_str(), "1"));
    assert_eq!(read(&ann, &posts[0]).await, posts[0]);
    assert_eq!(harness.user(&ann.id).await.post_count, 1);
    assert_eq!(harness.events("user.v1.PostCreated").await, 1);
    assert_counts(&harness, &[&ann]).await;
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_tells_of_it_once() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let (post, _) = write(&ann, published()).await.unwrap();
    let request = renaming(&post, "Coffee");
    let answers = join_all((0..10).map(|_| update(&ann, request.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| !answer.as_ref().unwrap().1).count(), 1);
    let updated = read(&ann, &post).await;
    for answer in answers {
        assert_eq!(answer.unwrap().0, updated);
    }
    let expected =
        Post { title: "Coffee".into(), etag: "2".into(), update_time: updated.update_time, ..post.clone() };
    assert_eq!(updated, expected);
    assert_eq!(harness.events("user.v1.PostUpdated").await, 1);
    let both = UpdatePostRequest {
        post: Some(Post { title: "Milk".into(), body: "White.".into(), ..Post::default() }),
        update_mask: Some(FieldMask { paths: vec!["body".into(), "title".into()] }),
        etag: updated.etag,
        ..renaming(&post, "")
    };
    let (updated, _) = update(&ann, both).await.unwrap();
    assert_eq!((&*updated.title, &*updated.body, &*updated.etag), ("Milk", "White.", "3"));
}

#[tokio::test]
async fn a_post_is_changed_by_its_author_or_an_admin_and_never_over_a_newer_version() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let (post, _) = write(&ann, published()).await.unwrap();
    let mine = update(&bob, renaming(&post, "Mine")).await;
    assert_eq!(refusal(mine), refused(Code::PermissionDenied, "NOT_POST_AUTHOR", &[]));
    let (updated, _) = update(&admin, renaming(&post, "Moderated")).await.unwrap();
    assert_eq!((&*updated.title, updated.author_id.as_str()), ("Moderated", ann.id.as_str()));
    let stale = UpdatePostRequest { etag: post.etag.clone(), ..renaming(&post, "Late") };
    let expected = refused(Code::Aborted, "VERSION_MISMATCH", &[&format!("post {}", post.id)]);
    assert_eq!(refusal(update(&ann, stale).await), expected);
    assert_eq!(read(&bob, &post).await, updated);
    assert_eq!(harness.events("user.v1.PostUpdated").await, 1);
}

#[tokio::test]
async fn a_post_that_is_handed_over_takes_its_count_with_it() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let (post, _) = write(&ann, published()).await.unwrap();
    let request = handing(&post, &bob);
    let (handed, replayed) = hand_over(&ann, request.clone()).await.unwrap();
    assert!(!replayed);
    assert_eq!((handed.author_id.as_str(), handed.etag.as_str()), (bob.id.as_str(), "2"));
    assert_eq!(
        handed,
        Post { author_id: bob.id.clone(), etag: "2".into(), update_time: handed.update_time, ..post }
    );
    assert_eq!(read(&bob, &handed).await, handed);
    assert_eq!(harness.events("user.v1.PostTransferred").await, 1);
    assert_counts(&harness, &[&ann, &bob]).await;
    assert_eq!(harness.user(&bob.id).await.post_count, 1);

    // It is no longer the caller's, and even comes back in between: the repeat hears what it heard first.
    assert_eq!(hand_over(&ann, request.clone()).await.unwrap(), (handed.clone(), true));
    hand_over(&bob, handing(&handed, &ann)).await.unwrap();
    assert_eq!(hand_over(&ann, request).await.unwrap(), (handed.clone(), true));
    assert_eq!(read(&bob, &handed).await.author_id, ann.id);
    assert_counts(&harness, &[&ann, &bob]).await;
}

#[tokio::test]
async fn only_the_author_hands_a_post_over() {
    let harness = Harness::start().await;
    let (ann, bob, eve) = (harness.customer().await, harness.customer().await, harness.customer().await);
    let (post, _) = write(&ann, published()).await.unwrap();
    let denied = refused(Code::PermissionDenied, "NOT_POST_AUTHOR", &[]);
    assert_eq!(refusal(hand_over(&eve, handing(&post, &bob)).await), denied);
    let admin = harness.admin().await;
    assert_eq!(refusal(hand_over(&admin, handing(&post, &bob)).await), denied);
    let mut missing = handing(&post, &bob);
    missing.post_id = "01920000-0000-7000-8000-000000000001".into();
    let expected = refused(Code::NotFound, "POST_NOT_FOUND", &[&format!("post {}", missing.post_id)]);
    assert_eq!(refusal(hand_over(&ann, missing).await), expected);
    assert_eq!(read(&ann, &post).await, post);
    assert_counts(&harness, &[&ann, &bob, &eve]).await;
}

#[tokio::test]
async fn whoever_gets_a_post_is_another_active_user() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let (post, _) = write(&ann, published()).await.unwrap();
    let own = refused(Code::InvalidArgument, "INVALID_REQUEST", &["to_user_id SAME_USER"]);
    assert_eq!(refusal(hand_over(&ann, handing(&post, &ann)).await), own);
    let mut nobody = handing(&post, &bob);
    nobody.to_user_id = "01920000-0000-7000-8000-000000000001".into();
    let expected = refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {}", nobody.to_user_id)]);
    assert_eq!(refusal(hand_over(&ann, nobody).await), expected);
    let gone =
        DeactivateUserRequest { request_id: request_id(), user_id: bob.id.clone(), ..Default::default() };
    bob.caller.users().deactivate_user(gone).await.unwrap();
    let expected = refused(Code::FailedPrecondition, "USER_DEACTIVATED", &[&format!("users/{}", bob.id)]);
    assert_eq!(refusal(hand_over(&ann, handing(&post, &bob)).await), expected);
    assert_eq!(refusal(write(&bob, published()).await), expected, "nor does a deactivated user write");
    assert_eq!(read(&ann, &post).await, post);
    assert_counts(&harness, &[&ann, &bob]).await;
}

#[tokio::test]
async fn a_stale_etag_hands_nothing_over() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let (post, _) = write(&ann, published()).await.unwrap();
    let (post, _) = hand_over(&ann, handing(&post, &bob)).await.unwrap();
    let mut stale = handing(&post, &ann);
    stale.etag = "1".into();
    let expected = refused(Code::Aborted, "VERSION_MISMATCH", &[&format!("post {}", post.id)]);
    assert_eq!(refusal(hand_over(&bob, stale.clone()).await), expected);
    stale.etag = post.etag;
    assert_eq!(hand_over(&bob, stale).await.unwrap().0.author_id, ann.id);
}

#[tokio::test]
async fn of_many_who_get_a_post_at_once_one_has_it() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let others = join_all((0..8).map(|_| harness.customer())).await;
    let (post, _) = write(&ann, published()).await.unwrap();
    let outcomes = join_all(others.iter().map(|other| hand_over(&ann, handing(&post, other)))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        assert_eq!(refusal(outcome), refused(Code::PermissionDenied, "NOT_POST_AUTHOR", &[]));
    }
    let mut people: Vec<&Person> = others.iter().collect();
    people.push(&ann);
    assert_counts(&harness, &people).await;
    assert_eq!(harness.events("user.v1.PostTransferred").await, 1);
}

/// Claim: what people paste is kept byte for byte, with all that phones, messengers and word processors put into it.
#[tokio::test]
async fn a_body_is_kept_as_it_was_pasted() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    for body in [
        "one\r\ntwo\rthree\u{b}four\u{2028}five\r\n",
        "Call me: \u{202d}+44 7976 399087\u{202c}, or ask \u{2068}Zoë\u{2069}. \u{2067}unbalanced",
        "שלום\u{200f} (5) ועוד می\u{200c}خواهم ශ්\u{200d}රී",
        "\u{feff}\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f} \u{2764}\u{fe0f} Donau\u{ad}dampf Zoe\u{308}",
    ] {
        let (written, _) = write(&ann, CreatePostRequest { body: body.into(), ..published() }).await.unwrap();
        assert_eq!(written.body, body);
        assert_eq!(read(&ann, &written).await.body, body);
    }
}

#[tokio::test]
async fn a_post_has_a_title_and_a_body_within_their_limits() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let at_the_limit =
        CreatePostRequest { title: "ß".repeat(200), body: "🦀".repeat(16_000), ..published() };
    assert!(write(&ann, at_the_limit).await.is_ok());
    let above = CreatePostRequest { title: "x".repeat(201), body: "y".repeat(16_001), ..published() };
    let expected = refused(Code::InvalidArgument, "INVALID_REQUEST", &["title TOO_LONG", "body TOO_LONG"]);
    assert_eq!(refusal(write(&ann, above).await), expected);
    let broken = CreatePostRequest { title: "two\nlines".into(), body: "a\u{1b}[31mb".into(), ..published() };
    let expected = refused(
        Code::InvalidArgument,
        "INVALID_REQUEST",
        &["title CONTROL_CHARACTER", "body CONTROL_CHARACTER"],
    );
    assert_eq!(refusal(write(&ann, broken).await), expected);
}
