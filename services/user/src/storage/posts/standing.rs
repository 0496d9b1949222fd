//! Whether posts are there and published, for whoever counts something of them.

use std::collections::HashMap;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use time::OffsetDateTime;
use types::PostId;

use super::{COLLECTION, StateRow};
use crate::error::Result;
use crate::storage::{Tx, bounded, to_time};

/// As much of a post as says whether everybody may read it, and since when.
#[derive(Debug, Deserialize)]
pub(crate) struct StandingRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    state: Option<StateRow>,
    publish_time: Option<bson::DateTime>,
    create_time: bson::DateTime,
}

impl StandingRow {
    pub(in crate::storage) const fn id(&self) -> bson::Uuid {
        self.id
    }

    /// What is read of a post for it.
    pub(in crate::storage) fn fields() -> Document {
        doc! { "state": 1, "publish_time": 1, "create_time": 1 }
    }

    /// When it was published first, of a post that is published.
    pub(crate) fn published_at(&self) -> Option<OffsetDateTime> {
        match self.state {
            None => Some(to_time(self.create_time)),
            Some(StateRow::Published) => self.publish_time.map(to_time),
            Some(StateRow::Draft | StateRow::Archived) => None,
        }
    }
}

impl Tx {
    /// Those of these posts that are there, as of this transaction's snapshot.
    pub(in crate::storage) async fn post_standing_list(
        &mut self,
        ids: &[PostId],
    ) -> Result<HashMap<PostId, StandingRow>> {
        let ids: Vec<bson::Uuid> = ids.iter().map(|id| id.uuid().into()).collect();
        let (posts, session) = self.on::<StandingRow>(COLLECTION);
        let find = posts.find(doc! { "_id": { "$in": ids } }).projection(StandingRow::fields());
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<StandingRow> = bounded(rows.stream(session).try_collect()).await?;
        Ok(rows.into_iter().map(|row| (PostId::from_uuid(row.id.into()), row)).collect())
    }
}
