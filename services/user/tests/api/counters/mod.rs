//! What is counted of users and posts: of edges, of comments, of posts.

mod popular;
mod recount;
mod views;

use std::time::Duration;

use api::order::v1::comment_subject::Kind;
use api::order::v1::{CommentCreated, CommentDeleted, CommentSubject};
use api::update_mask::FieldMask;
use api::user::v1::{
    BatchGetUsersRequest, CreatePostRequest, DeletePostRequest, GetPostRequest, GetUserRequest,
    ListPostsRequest, Post, PostCounts, PostLiked, PostUnliked, User, UserCounts, UserFollowed,
    UserUnfollowed,
};
use bson::{Document, doc};
use events::{Aggregate, Headers, NewEvent};
use prost::{Message, Name};
use testkit::client::request_id;
use testkit::{TestMongo, wait_until};
use types::{Clock as _, EventId, SystemClock};
use user_service::config::MongoConfig;
use user_service::storage::{Shared, Store};
use uuid::Uuid;

use crate::harness::{Harness, Person};

const WITHIN: Duration = Duration::from_secs(10);

/// A service on a database to which edges are written as by the service.
pub(crate) struct Edges {
    pub(crate) harness: Harness,
    store: Store,
    config: MongoConfig,
    name: String,
    _mongo: TestMongo,
}

/// Somebody follows somebody, or likes a post.
#[derive(Debug, Clone)]
enum Edge {
    Follow { follower: String, followee: String },
    Like { user: String, post: String },
}

/// An edge that is there, by its own id.
#[derive(Debug, Clone)]
struct There(Uuid, Edge);

fn follow(follower: &Person, followee: &Person) -> Edge {
    Edge::Follow { follower: follower.id.clone(), followee: followee.id.clone() }
}

fn like(user: &Person, post: &Post) -> Edge {
    Edge::Like { user: user.id.clone(), post: post.id.clone() }
}

fn binary(id: &str) -> bson::Uuid {
    bson::Uuid::parse_str(id).unwrap()
}

impl There {
    fn row(&self) -> (&'static str, Document) {
        let (collection, own, ends) = match &self.1 {
            Edge::Follow { follower, followee } => {
                ("follow", "follow_id", [("follower_id", follower), ("followee_id", followee)])
            }
            Edge::Like { user, post } => ("like", "like_id", [("user_id", user), ("post_id", post)]),
        };
        let key = ends.iter().flat_map(|(_, id)| binary(id).bytes()).collect();
        let key = bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: key };
        let mut row =
            doc! { "_id": key, own: bson::Uuid::from(self.0), "create_time": bson::DateTime::now() };
        row.extend(ends.iter().map(|(field, id)| ((*field).to_owned(), binary(id).into())));
        (collection, row)
    }

    fn event(&self, version: i64) -> NewEvent {
        let id = self.0.to_string();
        match (&self.1, version) {
            (Edge::Follow { follower, followee }, 1) => {
                let (follower_id, followee_id) = (follower.clone(), followee.clone());
                self.told("follow", 1, &UserFollowed { follow_id: id, follower_id, followee_id })
            }
            (Edge::Follow { follower, followee }, version) => {
                let (follower_id, followee_id) = (follower.clone(), followee.clone());
                self.told("follow", version, &UserUnfollowed { follow_id: id, follower_id, followee_id })
            }
            (Edge::Like { user, post }, 1) => {
                let (user_id, post_id) = (user.clone(), post.clone());
                let payload = PostLiked { like_id: id, post_id, user_id, ..PostLiked::default() };
                self.told("like", 1, &payload)
            }
            (Edge::Like { user, post }, version) => {
                let (user_id, post_id) = (user.clone(), post.clone());
                let payload = PostUnliked { like_id: id, post_id, user_id, ..PostUnliked::default() };
                self.told("like", version, &payload)
            }
        }
    }

    fn told<M: Message + Name>(&self, kind: &str, version: i64, payload: &M) -> NewEvent {
        let (id, aggregate) = (EventId::from_uuid(Uuid::now_v7()), Aggregate::new(kind, self.0));
        NewEvent::new(id, aggregate, version, payload, Headers::default(), SystemClock.now())
    }
}

impl Edges {
    pub(crate) async fn start() -> Self {
        let mongo = TestMongo::create().await.unwrap();
        let harness = Harness::start_on(mongo.urls(), mongo.url(), &[]).await;
        for edges in ["follow", "like"] {
            // One that is not there cannot be made by two transactions at once.
            let _is_there = harness.database.create_collection(edges).await;
        }
        // Who may write edges that the service did not make.
        let config = MongoConfig::for_tests(mongo.migrate_url());
        let store = Store::connect(&config, Shared::default()).await.unwrap();
        Self { harness, store, config, name: mongo.name().to_owned(), _mongo: mongo }
    }

    /// Makes an edge, with its event.
    async fn make(&self, edge: Edge) -> There {
        let there = There(Uuid::now_v7(), edge);
        let mut tx = self.store.begin("test").await.unwrap();
        let (collection, row) = there.row();
        let edges = tx.session().client().database(&self.name).collection::<Document>(collection);
        edges.insert_one(row).session(tx.session()).await.unwrap();
        tx.event_append(&there.event(1)).unwrap();
        tx.commit_now().await.unwrap();
        there
    }

    /// Takes an edge away, with its event.
    async fn remove(&self, there: There) {
        let mut tx = self.store.begin("test").await.unwrap();
        let (collection, row) = there.row();
        let edges = tx.session().client().database(&self.name).collection::<Document>(collection);
        edges.delete_one(doc! { "_id": row.get("_id") }).session(tx.session()).await.unwrap();
        tx.event_append(&there.event(2)).unwrap();
        tx.commit_now().await.unwrap();
    }

    /// What a recount finds, and mends if it shall.
    async fn recount(&self, is_to_mend: bool) -> Vec<String> {
        let mut found = Vec::new();
        user_service::recount(&self.config, is_to_mend, |difference| found.push(difference.to_string()))
            .await
            .unwrap();
        found
    }

    async fn counts_become(&self, person: &Person, followers: i64, following: i64) {
        let expected = Some(UserCounts { posts: 0, followers, following });
        let become_so = wait_until(WITHIN, "the counts of a user", async || {
            let seen = self.harness.user(&person.id).await.counts;
            if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
        });
        become_so.await.unwrap();
    }

    async fn post_counts_become(&self, reader: &Person, post: &Post, expected: PostCounts) {
        let become_so = wait_until(WITHIN, "the counts of a post", async || {
            let seen = counts(reader, post).await;
            if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
        });
        become_so.await.unwrap();
    }
}

async fn write(author: &Person) -> Post {
    let request = CreatePostRequest {
        request_id: request_id(),
        title: "Tea".to_owned(),
        body: "Water.".to_owned(),
        publish: true,
        ..CreatePostRequest::default()
    };
    author.caller.posts().create_post(request).await.unwrap().into_inner().post.unwrap()
}

async fn counts(reader: &Person, post: &Post) -> PostCounts {
    let request = GetPostRequest { post_id: post.id.clone() };
    let post = reader.caller.posts().get_post(request).await.unwrap().into_inner().post.unwrap();
    post.counts.unwrap()
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

fn comment_on(kind: Kind, id: &str) -> CommentCreated {
    let subject = Some(CommentSubject { kind: kind.into(), id: id.to_owned() });
    CommentCreated { subject, ..CommentCreated::default() }
}

#[tokio::test]
async fn edges_are_counted_at_both_ends_and_change_no_etag() {
    let edges = Edges::start().await;
    let harness = &edges.harness;
    let (ann, bob, cid) = (harness.customer().await, harness.customer().await, harness.customer().await);
    let before = harness.user(&ann.id).await;
    assert_eq!(before.counts, Some(UserCounts::default()), "nothing is counted yet");
    let first = edges.make(follow(&bob, &ann)).await;
    edges.make(follow(&cid, &ann)).await;
    edges.make(follow(&ann, &bob)).await;
    edges.counts_become(&ann, 2, 1).await;
    edges.counts_become(&bob, 1, 1).await;
    // Another edge between the same two is counted anew.
    edges.remove(first).await;
    edges.counts_become(&ann, 1, 1).await;
    edges.make(follow(&bob, &ann)).await;
    edges.counts_become(&ann, 2, 1).await;
    let after = harness.user(&ann.id).await;
    assert_eq!(User { counts: before.counts, ..after }, before, "nothing else of a user is changed by edges");
}

#[tokio::test]
async fn likes_and_comments_of_a_post_are_counted_and_shown_wherever_it_is_read() {
    let edges = Edges::start().await;
    let harness = &edges.harness;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let (post, other) = (write(&ann).await, write(&ann).await);
    assert_eq!(counts(&bob, &post).await, PostCounts::default());
    let own = edges.make(like(&ann, &post)).await;
    edges.make(like(&bob, &post)).await;
    for subject in [Kind::Post, Kind::Post, Kind::Product, Kind::User, Kind::Order] {
        harness.orders.tell(&comment_on(subject, &post.id));
    }
    edges.post_counts_become(&bob, &post, PostCounts { likes: 2, comments: 2, views: 0 }).await;
    edges.remove(own).await;
    let deleted = CommentDeleted { subject: comment_on(Kind::Post, &post.id).subject, ..Default::default() };
    harness.orders.tell(&deleted);
    let expected = PostCounts { likes: 1, comments: 1, views: 0 };
    edges.post_counts_become(&bob, &post, expected).await;
    let listed = bob.caller.posts().list_posts(ListPostsRequest::default()).await.unwrap().into_inner();
    let seen: Vec<_> = listed.posts.into_iter().map(|listed| listed.post.unwrap()).collect();
    let seen: Vec<_> = seen.into_iter().map(|post| (post.id, post.counts.unwrap(), post.etag)).collect();
    let of = |post: &Post, counts| (post.id.clone(), counts, "1".to_owned());
    assert_eq!(seen, [of(&other, PostCounts::default()), of(&post, expected)]);
    let row = harness.database.collection::<Document>("post_counters");
    let row = row.find_one(doc! { "_id": binary(&post.id) }).await.unwrap().unwrap();
    assert_eq!(row.get_i64("score").unwrap(), 50);
}

#[tokio::test]
async fn what_is_counted_of_a_deleted_post_is_gone_and_stays_so() {
    let edges = Edges::start().await;
    let harness = &edges.harness;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let post = write(&ann).await;
    let liked = edges.make(like(&bob, &post)).await;
    edges.post_counts_become(&bob, &post, PostCounts { likes: 1, ..PostCounts::default() }).await;
    let request =
        DeletePostRequest { request_id: request_id(), post_id: post.id.clone(), etag: String::new() };
    ann.caller.posts().delete_post(request).await.unwrap();
    // What is told of it later, of any stream, changes nothing.
    edges.remove(liked).await;
    harness.orders.tell(&comment_on(Kind::Post, &post.id));
    edges.make(follow(&ann, &bob)).await;
    edges.counts_become(&bob, 1, 0).await;
    let other = write(&ann).await;
    harness.orders.tell(&comment_on(Kind::Post, &other.id));
    edges.post_counts_become(&bob, &other, PostCounts { comments: 1, ..PostCounts::default() }).await;
    let gone =
        doc! { "_id": binary(&post.id), "gone_at": { "$exists": true }, "windows": null, "likes": 1_i64 };
    assert_eq!(harness.count("post_counters", gone).await, 1);
}

#[tokio::test]
async fn counts_are_read_for_a_mask_that_names_them_and_for_no_other() {
    let edges = Edges::start().await;
    let harness = &edges.harness;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    write(&ann).await;
    edges.make(follow(&bob, &ann)).await;
    let read = async |paths: &[&str]| {
        let request = GetUserRequest { user_id: ann.id.clone(), read_mask: mask(paths) };
        bob.caller.users().get_user(request).await.unwrap().into_inner().user.unwrap()
    };
    let counted = wait_until(WITHIN, "a follower", async || {
        let counts = read(&["counts"]).await.counts.unwrap();
        if counts.followers == 1 { Ok(()) } else { Err(format!("{counts:?}")) }
    });
    counted.await.unwrap();
    let counts = UserCounts { posts: 1, followers: 1, following: 0 };
    assert_eq!(read(&["counts"]).await, User { counts: Some(counts), ..User::default() });
    let followers = UserCounts { followers: 1, ..UserCounts::default() };
    assert_eq!(read(&["counts.followers"]).await, User { counts: Some(followers), ..User::default() });
    assert_eq!(read(&["post_count"]).await, User { post_count: 1, ..User::default() });
    let user_ids = vec![bob.id.clone(), ann.id.clone()];
    let request = BatchGetUsersRequest { user_ids, read_mask: mask(&["counts"]) };
    let both = bob.caller.users().batch_get_users(request).await.unwrap().into_inner().users;
    let following = UserCounts { following: 1, ..UserCounts::default() };
    assert_eq!(both.iter().map(|user| user.counts).collect::<Vec<_>>(), [Some(following), Some(counts)]);
}

#[tokio::test]
async fn writing_and_deleting_posts_changes_neither_etag_nor_time_of_a_user() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let before = harness.user(&ann.id).await;
    let post = write(&ann).await;
    let with = harness.user(&ann.id).await;
    assert_eq!((with.post_count, with.counts.unwrap().posts), (1, 1));
    assert_eq!((with.etag, with.update_time), (before.etag.clone(), before.update_time));
    let request = DeletePostRequest { request_id: request_id(), post_id: post.id, etag: String::new() };
    ann.caller.posts().delete_post(request).await.unwrap();
    assert_eq!(harness.user(&ann.id).await, before);
}
