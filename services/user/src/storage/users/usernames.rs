//! Claims of usernames, each a document of its own whose key is what the username looks like. A claim is never removed, so
//! a name that somebody had passes to nobody else, whatever has become of them. Whoever has a claim may come back to it.

use bson::doc;
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use types::UserId;

use crate::domain::user::UserRefused;
use crate::domain::username::Username;
use crate::error::{Error, Result};
use crate::storage::driver::bounded;
use crate::storage::writes::conflict;
use crate::storage::{Store, Tx, from_time};

const COLLECTION: &str = "username";

#[derive(Debug, Serialize, Deserialize)]
struct ClaimRow {
    #[serde(rename = "_id")]
    skeleton: String,
    user_id: bson::Uuid,
    create_time: bson::DateTime,
}

impl Store {
    /// Who has claimed what a username looks like, in any spelling.
    pub(crate) async fn username_owner(&self, username: &Username) -> Result<Option<UserId>> {
        let claims = self.collection::<ClaimRow>(COLLECTION);
        let row = bounded(claims.find_one(doc! { "_id": username.skeleton().as_str() })).await?;
        Ok(row.map(|row| UserId::from_uuid(row.user_id.into())))
    }
}

impl Tx {
    /// Claims a username for a user. Comes to [`UserRefused::UsernameTaken`] when somebody else has claimed what it looks
    /// like, and to a conflict when somebody does so at the same time.
    pub(crate) async fn username_claim(
        &mut self,
        username: &Username,
        user_id: UserId,
        now: OffsetDateTime,
    ) -> Result<()> {
        let skeletons = username.skeletons();
        let keys: Vec<&str> = skeletons.iter().map(|skeleton| skeleton.as_str()).collect();
        let (claims, session) = self.on::<ClaimRow>(COLLECTION);
        let mut rows = bounded(claims.find(doc! { "_id": { "$in": &keys } }).session(&mut *session)).await?;
        let claimed: Vec<ClaimRow> = bounded(rows.stream(session).try_collect()).await?;
        let owner = bson::Uuid::from(user_id.uuid());
        if claimed.iter().any(|claim| claim.user_id != owner) {
            return Err(UserRefused::UsernameTaken.into());
        }
        for key in keys {
            if claimed.iter().any(|claim| claim.skeleton == key) {
                continue;
            }
            let claim = ClaimRow { skeleton: key.to_owned(), user_id: owner, create_time: from_time(now) };
            let claim = bson::serialize_to_document(&claim).map_err(Error::internal)?;
            self.insert(COLLECTION, claim, Some(conflict));
        }
        Ok(())
    }
}
