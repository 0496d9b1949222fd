//! Posts. A post names its one author; how many somebody has is counted in the user.
//!
//! Documents from before posts had states have none. They were there for everybody, so they are read as published when
//! they were created; `fill.rs` writes that down, since lists go by it.

mod authors;
mod fill;
mod heads;
mod list;
mod outcomes;
mod slugs;
mod standing;

use bson::{Document, doc};
use mongodb::options::UpdateOneModel;
use serde::{Deserialize, Serialize};
use types::{PostId, UserId};

use super::driver::bounded;
use super::requests::Outcome;
use super::{SERVER_TIME, Store, Tx, from_time, to_time};
use crate::domain::post::{Post, PostState};
use crate::domain::slug::Slug;
use crate::error::{Error, Result};

pub(crate) use standing::StandingRow;

const COLLECTION: &str = "post";

/// A post as the database has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PostRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    author_id: bson::Uuid,
    title: String,
    /// Not read for lists.
    #[serde(default)]
    body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slug: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    excerpt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<StateRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publish_time: Option<bson::DateTime>,
    version: i64,
    create_time: bson::DateTime,
    update_time: bson::DateTime,
}

/// The fields of a post that a change may take away.
const OPTIONAL: [&str; 5] = ["slug", "excerpt", "category", "tags", "publish_time"];
/// Those that no change touches: what finds the document, and what is said once.
const FIXED: [&str; 2] = ["_id", "create_time"];

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateRow {
    Draft,
    Published,
    Archived,
}

impl StateRow {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Archived => "archived",
        }
    }
}

impl From<PostState> for StateRow {
    fn from(state: PostState) -> Self {
        match state {
            PostState::Draft => Self::Draft,
            PostState::Published => Self::Published,
            PostState::Archived => Self::Archived,
        }
    }
}

impl From<StateRow> for PostState {
    fn from(row: StateRow) -> Self {
        match row {
            StateRow::Draft => Self::Draft,
            StateRow::Published => Self::Published,
            StateRow::Archived => Self::Archived,
        }
    }
}

impl From<&Post> for PostRow {
    fn from(post: &Post) -> Self {
        Self {
            id: post.id.uuid().into(),
            author_id: post.author_id.uuid().into(),
            title: post.title.clone(),
            body: post.body.clone(),
            slug: post.slug.as_ref().map(Slug::to_string),
            excerpt: post.excerpt.clone(),
            category: post.category.as_ref().map(Slug::to_string),
            tags: post.tags.iter().map(Slug::to_string).collect(),
            state: Some(post.state.into()),
            publish_time: post.publish_time.map(from_time),
            version: post.version,
            create_time: from_time(post.create_time),
            update_time: from_time(post.update_time),
        }
    }
}

impl From<PostRow> for Post {
    fn from(row: PostRow) -> Self {
        let create_time = to_time(row.create_time);
        let (state, publish_time) = match row.state {
            None => (PostState::Published, Some(create_time)),
            Some(state) => (state.into(), row.publish_time.map(to_time)),
        };
        Self {
            id: PostId::from_uuid(row.id.into()),
            author_id: UserId::from_uuid(row.author_id.into()),
            title: row.title,
            body: row.body,
            slug: row.slug.map(Slug::from_row),
            excerpt: row.excerpt,
            category: row.category.map(Slug::from_row),
            tags: row.tags.into_iter().map(Slug::from_row).collect(),
            state,
            publish_time,
            version: row.version,
            create_time,
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
        self.insert(COLLECTION, document(post)?, None);
        Ok(())
    }

    /// Writes what a change made of a post, guarded by the author and the version before it. Fields that this program does
    /// not know stay.
    pub(crate) fn post_update(&mut self, before: &Post, post: &Post) -> Result<()> {
        let mut set = document(post)?;
        for field in FIXED {
            set.remove(field);
        }
        let unset: Document = OPTIONAL
            .iter()
            .filter(|field| !set.contains_key(**field))
            .map(|field| ((*field).to_owned(), "".into()))
            .collect();
        let mut change = doc! { "$set": set };
        if !unset.is_empty() {
            change.insert("$unset", unset);
        }
        self.post_write(before, change);
        Ok(())
    }

    /// Writes that a post has another author and nothing else, guarded by the author and the version before it.
    pub(crate) fn post_hand_over(&mut self, before: &Post, post: &Post) {
        let change = doc! { "$set": {
            "author_id": bson::Uuid::from(post.author_id.uuid()),
            "version": post.version,
            "update_time": from_time(post.update_time),
        } };
        self.post_write(before, change);
    }

    /// Deletes a post, guarded by the author and the version that it was read with. Its likes are removed later on. Its slug is
    /// free again unless it was published: under the slug of such a one nobody shall find another post.
    pub(crate) fn post_remove(&mut self, before: &Post) {
        self.delete(COLLECTION, as_read(before));
        self.deleted_post_insert(before.id);
        if let Some(slug) = before.slug.as_ref().filter(|_| !before.was_published()) {
            self.slug_delete(slug, before.id);
        }
    }

    fn post_write(&mut self, before: &Post, change: Document) {
        let posts = self.namespace(COLLECTION);
        let before = as_read(before);
        self.update(UpdateOneModel::builder().namespace(posts).filter(before).update(change).build());
    }
}

fn document(post: &Post) -> Result<Document> {
    bson::serialize_to_document(&PostRow::from(post)).map_err(Error::internal)
}

fn by_id(id: PostId) -> Document {
    doc! { "_id": bson::Uuid::from(id.uuid()) }
}

fn as_read(post: &Post) -> Document {
    doc! {
        "_id": bson::Uuid::from(post.id.uuid()),
        "author_id": bson::Uuid::from(post.author_id.uuid()),
        "version": post.version,
    }
}
