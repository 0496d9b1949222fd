//! Which post a slug is of. A slug is the `_id` of its claim, so that two who want it at once cannot both have it. The claim
//! of a post that was published outlives the post.

use bson::doc;
use serde::{Deserialize, Serialize};
use types::PostId;

use crate::domain::slug::Slug;
use crate::error::{Error, Result};
use crate::storage::writes::conflict;
use crate::storage::{SERVER_TIME, Store, Tx, bounded};

const CLAIMS: &str = "post_slug";

#[derive(Debug, Serialize, Deserialize)]
struct ClaimRow {
    #[serde(rename = "_id")]
    slug: String,
    post_id: bson::Uuid,
}

impl From<ClaimRow> for PostId {
    fn from(row: ClaimRow) -> Self {
        Self::from_uuid(row.post_id.into())
    }
}

impl Store {
    /// The post that a slug is of, or was.
    pub(crate) async fn slug_fetch(&self, slug: &Slug) -> Result<Option<PostId>> {
        let claims = self.collection::<ClaimRow>(CLAIMS);
        let row = bounded(claims.find_one(doc! { "_id": slug.as_str() }).max_time(SERVER_TIME)).await?;
        Ok(row.map(PostId::from))
    }
}

impl Tx {
    /// The post that a slug is of, or was, as of this transaction's snapshot.
    pub(crate) async fn slug_fetch(&mut self, slug: &Slug) -> Result<Option<PostId>> {
        let (claims, session) = self.on::<ClaimRow>(CLAIMS);
        let row = bounded(claims.find_one(doc! { "_id": slug.as_str() }).session(session)).await?;
        Ok(row.map(PostId::from))
    }

    /// Claims a slug. When another call has claimed it meanwhile this comes to a conflict: the next try of the transaction
    /// finds that claim.
    pub(crate) fn slug_insert(&mut self, slug: &Slug, post: PostId) -> Result<()> {
        let row = ClaimRow { slug: slug.to_string(), post_id: post.uuid().into() };
        let row = bson::serialize_to_document(&row).map_err(Error::internal)?;
        self.insert(CLAIMS, row, Some(conflict));
        Ok(())
    }

    /// Gives back a slug that a post has.
    pub(crate) fn slug_delete(&mut self, slug: &Slug, post: PostId) {
        self.delete(CLAIMS, doc! { "_id": slug.as_str(), "post_id": bson::Uuid::from(post.uuid()) });
    }
}
