//! What calls about posts are answered with besides the post, as it is kept for their repeats.

use serde::{Deserialize, Serialize};
use types::PostId;

use crate::domain::post::{DeletedPost, PostsHandedOver};
use crate::error::Result;
use crate::storage::requests::Outcome;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeletedRow {
    post: bson::Uuid,
}

impl Outcome for DeletedPost {
    const KIND: &'static str = "post_deleted";
    type Row = DeletedRow;

    fn to_row(&self) -> DeletedRow {
        DeletedRow { post: self.0.uuid().into() }
    }

    fn from_row(row: DeletedRow) -> Result<Self> {
        Ok(Self(PostId::from_uuid(row.post.into())))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HandedOverRow {
    posts: Vec<bson::Uuid>,
    has_more: bool,
}

impl Outcome for PostsHandedOver {
    const KIND: &'static str = "posts_handed_over";
    type Row = HandedOverRow;

    fn to_row(&self) -> HandedOverRow {
        HandedOverRow { posts: self.ids.iter().map(|id| id.uuid().into()).collect(), has_more: self.has_more }
    }

    fn from_row(row: HandedOverRow) -> Result<Self> {
        let ids = row.posts.into_iter().map(|id| PostId::from_uuid(id.into())).collect();
        Ok(Self { ids, has_more: row.has_more })
    }
}
