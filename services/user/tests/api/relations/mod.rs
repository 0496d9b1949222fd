//! Who follows whom, and who likes what.

mod batch;
mod follows;
mod leaving;
mod likes;
mod limit;
mod lists;
mod plans;
mod races;

use api::user::v1::{
    ArchivePostRequest, BatchGetRelationsRequest, CreatePostRequest, DeactivateUserRequest, Follow,
    FollowUserRequest, Like, LikePostRequest, ListFollowersRequest, ListFollowingRequest, Post, RelatedUser,
    UnfollowUserRequest, UnlikePostRequest,
};
use bson::spec::BinarySubtype;
use bson::{Binary, DateTime, Document, doc};
use futures_util::TryStreamExt as _;
use prost::Message;
use testkit::client::request_id;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::harness::{Harness, Person, is_replay, refusal, refused};

const FOLLOWED: &str = "user.v1.UserFollowed";
const UNFOLLOWED: &str = "user.v1.UserUnfollowed";
const LIKED: &str = "user.v1.PostLiked";
const UNLIKED: &str = "user.v1.PostUnliked";

fn following(id: &str) -> FollowUserRequest {
    FollowUserRequest { request_id: request_id(), user_id: id.to_owned() }
}

async fn send_follow(by: &Person, request: FollowUserRequest) -> Result<(Follow, bool), Status> {
    let response = by.caller.relations().follow_user(request).await?;
    Ok((response.get_ref().follow.clone().unwrap(), is_replay(&response)))
}

async fn follow(by: &Person, whom: &Person) -> Result<Follow, Status> {
    Ok(send_follow(by, following(&whom.id)).await?.0)
}

fn unfollowing(id: &str) -> UnfollowUserRequest {
    UnfollowUserRequest { request_id: request_id(), user_id: id.to_owned() }
}

/// Whether the answer was given before.
async fn send_unfollow(by: &Person, request: UnfollowUserRequest) -> Result<bool, Status> {
    Ok(is_replay(&by.caller.relations().unfollow_user(request).await?))
}

async fn unfollow(by: &Person, whom: &Person) -> Result<bool, Status> {
    send_unfollow(by, unfollowing(&whom.id)).await
}

fn liking(post: &str) -> LikePostRequest {
    LikePostRequest { request_id: request_id(), post_id: post.to_owned() }
}

async fn send_like(by: &Person, request: LikePostRequest) -> Result<(Like, bool), Status> {
    let response = by.caller.relations().like_post(request).await?;
    Ok((response.get_ref().like.clone().unwrap(), is_replay(&response)))
}

async fn like(by: &Person, post: &Post) -> Result<Like, Status> {
    Ok(send_like(by, liking(&post.id)).await?.0)
}

fn unliking(post: &str) -> UnlikePostRequest {
    UnlikePostRequest { request_id: request_id(), post_id: post.to_owned() }
}

/// Whether the answer was given before.
async fn send_unlike(by: &Person, request: UnlikePostRequest) -> Result<bool, Status> {
    Ok(is_replay(&by.caller.relations().unlike_post(request).await?))
}

async fn unlike(by: &Person, post: &Post) -> Result<bool, Status> {
    send_unlike(by, unliking(&post.id)).await
}

async fn write(author: &Person, publish: bool) -> Post {
    let request = CreatePostRequest {
        request_id: request_id(),
        title: "Tea".to_owned(),
        body: "Water.".to_owned(),
        publish,
        ..CreatePostRequest::default()
    };
    author.caller.posts().create_post(request).await.unwrap().into_inner().post.unwrap()
}

async fn archive(author: &Person, post: &Post) {
    let request =
        ArchivePostRequest { request_id: request_id(), post_id: post.id.clone(), ..Default::default() };
    author.caller.posts().archive_post(request).await.unwrap();
}

async fn deactivate(person: &Person) {
    let request =
        DeactivateUserRequest { request_id: request_id(), user_id: person.id.clone(), ..Default::default() };
    person.caller.users().deactivate_user(request).await.unwrap();
}

async fn followers(
    by: &Person,
    of: &str,
    page_size: i32,
    page_token: &str,
) -> Result<(Vec<RelatedUser>, String), Status> {
    let (user_id, page_token) = (of.to_owned(), page_token.to_owned());
    let request = ListFollowersRequest { user_id, page_size, page_token };
    let page = by.caller.relations().list_followers(request).await?.into_inner();
    Ok((page.users, page.next_page_token))
}

async fn followed_by(
    by: &Person,
    whom: &str,
    page_size: i32,
    page_token: &str,
) -> Result<(Vec<RelatedUser>, String), Status> {
    let (user_id, page_token) = (whom.to_owned(), page_token.to_owned());
    let request = ListFollowingRequest { user_id, page_size, page_token };
    let page = by.caller.relations().list_following(request).await?.into_inner();
    Ok((page.users, page.next_page_token))
}

fn ids(users: &[RelatedUser]) -> Vec<&str> {
    users.iter().map(|user| user.user_id.as_str()).collect()
}

/// The key of an edge, as the database has it.
fn pair(from: &str, to: &str) -> Binary {
    let bytes = [from, to].map(|id| Uuid::parse_str(id).unwrap().into_bytes()).concat();
    Binary { subtype: BinarySubtype::Generic, bytes }
}

/// An edge of now that the database has, and nobody was told of.
fn follow_row(follower: &str, followee: &str) -> Document {
    doc! {
        "_id": pair(follower, followee),
        "follow_id": bson::Uuid::from(Uuid::now_v7()),
        "follower_id": uuid(follower),
        "followee_id": uuid(followee),
        "create_time": DateTime::now(),
    }
}

/// The same of a like.
fn like_row(user: &str, post: &str) -> Document {
    doc! {
        "_id": pair(user, post),
        "like_id": bson::Uuid::from(Uuid::now_v7()),
        "post_id": uuid(post),
        "user_id": uuid(user),
        "create_time": DateTime::now(),
    }
}

/// The id of nobody and nothing.
fn missing() -> String {
    Uuid::now_v7().to_string()
}

fn uuid(id: &str) -> bson::Uuid {
    bson::Uuid::parse_str(id).unwrap()
}

fn no_user(id: &str) -> (Code, String, Vec<String>) {
    refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {id}")])
}

fn no_post(id: &str) -> (Code, String, Vec<String>) {
    refused(Code::NotFound, "POST_NOT_FOUND", &[&format!("post {id}")])
}

/// Types and versions of the events of an edge, in their order.
async fn story(harness: &Harness, edge: &str) -> Vec<(String, i64)> {
    let events = harness.database.collection::<Document>("outbox");
    let find = events.find(doc! { "aggregate.id": edge }).sort(doc! { "aggregate.version": 1 });
    let events: Vec<Document> = find.await.unwrap().try_collect().await.unwrap();
    let told = |event: &Document| {
        let version = event.get_document("aggregate").unwrap().get_i64("version").unwrap();
        (event.get_str("type").unwrap().to_owned(), version)
    };
    events.iter().map(told).collect()
}

/// The event of an edge of this type.
async fn told<M: Message + Default>(harness: &Harness, edge: &str, event_type: &str) -> M {
    let events = harness.database.collection::<Document>("outbox");
    let event = events.find_one(doc! { "aggregate.id": edge, "type": event_type }).await.unwrap().unwrap();
    M::decode(event.get_binary_generic("payload").unwrap().as_slice()).unwrap()
}

/// Fails unless the events of edges tell of exactly those that there are: each that was made and not removed is there.
async fn assert_told(harness: &Harness) {
    for (collection, made, removed) in [("follow", FOLLOWED, UNFOLLOWED), ("like", LIKED, UNLIKED)] {
        let outbox = harness.database.collection::<Document>("outbox");
        let find = outbox.find(doc! { "aggregate.type": collection }).sort(doc! { "_id": 1 });
        let events: Vec<Document> = find.await.unwrap().try_collect().await.unwrap();
        let mut standing = std::collections::BTreeMap::new();
        for event in &events {
            let aggregate = event.get_document("aggregate").unwrap();
            let of = (event.get_str("type").unwrap(), aggregate.get_i64("version").unwrap());
            let standing: &mut Vec<_> =
                standing.entry(aggregate.get_str("id").unwrap().to_owned()).or_default();
            standing.push(of);
        }
        for story in standing.values_mut() {
            story.sort_by_key(|(_, version)| *version);
            assert!(*story == [(made, 1)] || *story == [(made, 1), (removed, 2)], "{story:?}");
        }
        standing.retain(|_, story| story.len() == 1);
        let rows = harness.database.collection::<Document>(collection);
        let rows: Vec<Document> = rows.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        let id = |row: &Document| {
            let id: bson::Uuid =
                bson::deserialize_from_bson(row[&format!("{collection}_id")].clone()).unwrap();
            id.to_string()
        };
        let mut there: Vec<String> = rows.iter().map(id).collect();
        there.sort();
        assert_eq!(there, standing.into_keys().collect::<Vec<_>>(), "{collection}");
    }
}
