//! Posts. A post names its one author; how many somebody has is counted in the user.

use bson::{Document, doc};
use mongodb::options::UpdateOneModel;
use serde::{Deserialize, Serialize};
use types::{PostId, UserId};

use super::driver::bounded;
use super::requests::Outcome;
use super::{SERVER_TIME, Store, Tx, from_time, to_time};
use crate::domain::post::Post;
use crate::error::{Error, Result};

const COLLECTION: &str = "post";

/// A post as the database has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PostRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    author_id: bson::Uuid,
    title: String,
    body: String,
    version: i64,
    create_time: bson::DateTime,
    update_time: bson::DateTime,
}

impl From<&Post> for PostRow {
    fn from(post: &Post) -> Self {
        Self {
            id: post.id.uuid().into(),
            author_id: post.author_id.uuid().into(),
            title: post.title.clone(),
            body: post.body.clone(),
            version: post.version,
            create_time: from_time(post.create_time),
            update_time: from_time(post.update_time),
        }
    }
}

impl From<PostRow> for Post {
    fn from(row: PostRow) -> Self {
        Self {
            id: PostId::from_uuid(row.id.into()),
            author_id: UserId::from_uuid(row.author_id.into()),
            title: row.title,
            body: row.body,
            version: row.version,
            create_time: to_time(row.create_time),
            update_time: to_time(row.update_time),
        }
    }
}

impl Outcome for Post {
    const KIND: &'static str = "post";
    type Row = PostRow;

    fn to_row(&self) -> PostRow {
        self.into()
    }

    fn from_row(row: PostRow) -> Result<Self> {
        Ok(row.into())
    }
}

impl Store {
    /// A post by id.
    pub(crate) async fn post_fetch(&self, id: PostId) -> Result<Option<Post>> {
        let posts = self.collection::<PostRow>(COLLECTION);
        let row = bounded(posts.find_one(by_id(id)).max_time(SERVER_TIME)).await?;
        Ok(row.map(Post::from))
    }
}

impl Tx {
    /// A post by id, as of this transaction's snapshot.
    pub(crate) async fn post_fetch(&mut self, id: PostId) -> Result<Option<Post>> {
        let (posts, session) = self.on::<PostRow>(COLLECTION);
        let row = bounded(posts.find_one(by_id(id)).session(session)).await?;
        Ok(row.map(Post::from))
    }

    /// Inserts a new post.
    pub(crate) fn post_insert(&mut self, post: &Post) -> Result<()> {
        let row = bson::serialize_to_document(&PostRow::from(post)).map_err(Error::internal)?;
        self.insert(COLLECTION, row, None);
        Ok(())
    }

    /// Writes what a change made of a post, guarded by the author and the version before it.
    pub(crate) fn post_update(&mut self, before: &Post, post: &Post) {
        let change = doc! { "$set": {
            "author_id": bson::Uuid::from(post.author_id.uuid()),
            "title": &post.title,
            "body": &post.body,
            "version": post.version,
            "update_time": from_time(post.update_time),
        } };
        let before = doc! {
            "_id": bson::Uuid::from(before.id.uuid()),
            "author_id": bson::Uuid::from(before.author_id.uuid()),
            "version": before.version,
        };
        let posts = self.namespace(COLLECTION);
        self.update(UpdateOneModel::builder().namespace(posts).filter(before).update(change).build());
    }
}

fn by_id(id: PostId) -> Document {
    doc! { "_id": bson::Uuid::from(id.uuid()) }
}
