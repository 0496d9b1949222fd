//! Who may see posts: their authors and their states, and nothing of what they say.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use types::{PostId, UserId};

use super::{COLLECTION, StateRow};
use crate::domain::post::{PostHead, PostState};
use crate::error::Result;
use crate::storage::{SERVER_TIME, Store, Tx, bounded};

#[derive(Debug, Deserialize)]
struct HeadRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    author_id: bson::Uuid,
    state: Option<StateRow>,
}

impl From<HeadRow> for PostHead {
    fn from(row: HeadRow) -> Self {
        Self {
            id: PostId::from_uuid(row.id.into()),
            author_id: UserId::from_uuid(row.author_id.into()),
            // Of before posts had states: see the row of a whole post.
            state: row.state.map_or(PostState::Published, PostState::from),
        }
    }
}

impl Store {
    /// Those of these posts that are there, in any order.
    pub(crate) async fn post_head_list(&self, ids: &[PostId]) -> Result<Vec<PostHead>> {
        let posts = self.collection::<HeadRow>(COLLECTION);
        let find = posts.find(among(ids)).projection(head()).max_time(SERVER_TIME);
        let rows: Vec<HeadRow> = bounded(bounded(find).await?.try_collect()).await?;
        Ok(rows.into_iter().map(PostHead::from).collect())
    }
}

impl Tx {
    /// Those of these posts that are there, in any order, as of this transaction's snapshot.
    pub(crate) async fn post_head_list(&mut self, ids: &[PostId]) -> Result<Vec<PostHead>> {
        let (posts, session) = self.on::<HeadRow>(COLLECTION);
        let find = posts.find(among(ids)).projection(head());
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<HeadRow> = bounded(rows.stream(session).try_collect()).await?;
        Ok(rows.into_iter().map(PostHead::from).collect())
    }
}

fn among(ids: &[PostId]) -> Document {
    let ids: Vec<bson::Uuid> = ids.iter().map(|id| id.uuid().into()).collect();
    doc! { "_id": { "$in": ids } }
}

fn head() -> Document {
    doc! { "author_id": 1, "state": 1 }
}
