//! The floor of posts: a post takes one find, a page of a list two, and a hand-over one transaction of three exchanges.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use api::user::v1::{
    GetPostRequest, GetPostResponse, ListPostsRequest, ListPostsResponse, ListedPost, Post, PostAuthor,
    PostTransferred, TransferPostRequest, TransferPostResponse,
};
use bson::{DateTime, doc};
use futures_util::TryStreamExt as _;
use http::Request;
use mongodb::options::WriteModel;
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};
use tonic::body::Body;
use uuid::Uuid;

use crate::change::Changes;
use crate::serve::{Answered, Floor, unary, unknown};
use crate::user::time;

/// Answers the calls.
#[derive(Clone)]
pub(crate) struct Posts {
    posts: Collection<PostRow>,
    authors: Collection<AuthorRow>,
    changes: Changes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct PostRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    author_id: bson::Uuid,
    title: String,
    #[serde(default)]
    body: String,
    version: i64,
    publish_time: Option<DateTime>,
    create_time: DateTime,
    update_time: DateTime,
}

#[derive(Debug, Serialize, Deserialize)]
struct AuthorRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    display_name: String,
}

impl From<PostRow> for Post {
    fn from(row: PostRow) -> Self {
        Self {
            id: Uuid::from(row.id).to_string(),
            author_id: Uuid::from(row.author_id).to_string(),
            title: row.title,
            body: row.body,
            publish_time: row.publish_time.map(time),
            create_time: Some(time(row.create_time)),
            update_time: Some(time(row.update_time)),
            etag: row.version.to_string(),
            ..Self::default()
        }
    }
}

impl Posts {
    pub(crate) fn of(database: &Database) -> Self {
        Self {
            posts: database.collection("post"),
            authors: database.collection("user"),
            changes: Changes::of(database),
        }
    }

    async fn get(self, request: GetPostRequest) -> Result<GetPostResponse> {
        let id = bson::Uuid::from(request.post_id.parse::<Uuid>()?);
        let row = self.posts.find_one(doc! { "_id": id }).await?.context("no such post")?;
        Ok(GetPostResponse { post: Some(row.into()) })
    }

    /// The first page of all posts.
    async fn list(self, request: ListPostsRequest) -> Result<ListPostsResponse> {
        let posts = self
            .posts
            .find(doc! { "state": "published" })
            .projection(doc! { "body": 0 })
            .sort(doc! { "publish_time": -1, "_id": -1 })
            .limit(i64::from(request.page_size));
        let posts: Vec<PostRow> = posts.await?.try_collect().await?;
        let mut authors: Vec<bson::Uuid> = posts.iter().map(|post| post.author_id).collect();
        authors.sort_unstable_by_key(|id| id.bytes());
        authors.dedup();
        let authors =
            self.authors.find(doc! { "_id": { "$in": authors } }).projection(doc! { "display_name": 1 });
        let authors: Vec<AuthorRow> = authors.await?.try_collect().await?;
        let names: HashMap<[u8; 16], String> =
            authors.into_iter().map(|author| (author.id.bytes(), author.display_name)).collect();
        let listed = posts.into_iter().map(|post| {
            let author = PostAuthor {
                user_id: Uuid::from(post.author_id).to_string(),
                display_name: names.get(&post.author_id.bytes()).cloned().unwrap_or_default(),
                ..PostAuthor::default()
            };
            ListedPost { post: Some(post.into()), author: Some(author) }
        });
        Ok(ListPostsResponse { posts: listed.collect(), next_page_token: String::new() })
    }

    /// The post is read, everything is written with one command, and the transaction is committed.
    async fn transfer(self, request: TransferPostRequest) -> Result<TransferPostResponse> {
        let id = bson::Uuid::from(request.post_id.parse::<Uuid>()?);
        let to = bson::Uuid::from(request.to_user_id.parse::<Uuid>()?);
        let mut session = self.changes.begin().await?;
        let post = self.posts.find_one(doc! { "_id": id }).session(&mut session).await?;
        let before = post.context("no such post")?;
        let now = DateTime::now();
        let post = PostRow { author_id: to, version: before.version + 1, update_time: now, ..before.clone() };
        self.changes.commit(session, self.hand_over(&request.request_id, &before, &post)?).await?;
        Ok(TransferPostResponse { post: Some(post.into()) })
    }

    fn hand_over(&self, request_id: &str, before: &PostRow, post: &PostRow) -> Result<Vec<WriteModel>> {
        let as_read = doc! { "_id": post.id, "author_id": before.author_id, "version": before.version };
        let change = doc! { "$set": {
            "author_id": post.author_id, "version": post.version, "update_time": post.update_time,
        } };
        let count = |user: bson::Uuid, by: i64| {
            let active = doc! { "_id": user, "state": "active" };
            self.changes.update("user", active, doc! { "$inc": { "post_count": by } })
        };
        let id = |id: bson::Uuid| Uuid::from(id).to_string();
        let payload = PostTransferred {
            post_id: id(post.id),
            from_user_id: id(before.author_id),
            to_user_id: id(post.author_id),
            labels: None,
        };
        let outcome = doc! { "post": bson::serialize_to_document(post)? };
        Ok(vec![
            self.changes.update("post", as_read, change),
            count(post.author_id, 1),
            count(before.author_id, -1),
            self.changes.event(post.id, post.version, &payload),
            self.changes.answer(request_id, outcome)?,
        ])
    }
}

impl Floor for Posts {
    const NAME: &'static str = "user.v1.PostService";

    fn answer(self, request: Request<Body>) -> Answered {
        match request.uri().path() {
            "/user.v1.PostService/GetPost" => Box::pin(unary(request, |question| self.get(question))),
            "/user.v1.PostService/ListPosts" => Box::pin(unary(request, |question| self.list(question))),
            "/user.v1.PostService/TransferPost" => {
                Box::pin(unary(request, |question| self.transfer(question)))
            }
            _ => unknown(),
        }
    }
}
