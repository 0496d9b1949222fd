//! Writes down what posts without a state are read as. No change of the post: it is read the same before and after, so
//! that neither its version nor an event tells of it. It may be done twice, and by several processes at once; a change that
//! comes between writes the same.

use bson::{Bson, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::Hint;
use serde::Deserialize;

use super::{COLLECTION, StateRow};
use crate::error::Result;
use crate::storage::{SERVER_TIME, Store, bounded};

#[derive(Debug, Deserialize)]
struct IdRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
}

impl Store {
    /// Whether every post has a state.
    pub(crate) async fn post_states_are_filled(&self) -> Result<bool> {
        let posts = self.collection::<IdRow>(COLLECTION);
        let find = posts.find_one(doc! { "state": Bson::Null }).projection(doc! { "_id": 1 });
        let hint = Hint::Name("listed".to_owned());
        Ok(bounded(find.hint(hint).max_time(SERVER_TIME)).await?.is_none())
    }

    /// Fills the states of at most `limit` posts, and tells of how many it was. They are where the index of states begins,
    /// so that looking for the last of them costs as little as for the first.
    pub(crate) async fn post_states_fill(&self, limit: i64) -> Result<usize> {
        let posts = self.collection::<IdRow>(COLLECTION);
        let find = posts
            .find(doc! { "state": Bson::Null })
            .projection(doc! { "_id": 1 })
            .hint(Hint::Name("listed".to_owned()))
            .limit(limit)
            .max_time(SERVER_TIME);
        let rows: Vec<IdRow> = bounded(bounded(find).await?.try_collect()).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let ids: Vec<bson::Uuid> = rows.iter().map(|row| row.id).collect();
        let without = doc! { "_id": { "$in": ids }, "state": Bson::Null };
        let published = StateRow::Published.as_str();
        let fill = vec![doc! { "$set": { "state": published, "publish_time": "$create_time" } }];
        bounded(posts.update_many(without, fill)).await?;
        Ok(rows.len())
    }
}
