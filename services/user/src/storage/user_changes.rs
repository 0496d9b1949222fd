//! The record of what was changed of users. Documents are only ever added, in the transaction of the change. The place of
//! each and the end of the chain are in the user, whom that transaction writes.

use bson::{Binary, doc};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use types::{Currency, Role, UserId};
use uuid::Uuid;

use super::hashes::{binary, hash};
use super::writes::conflict;
use super::{SERVER_TIME, Store, Tx, bounded, from_time, to_time};
use crate::domain::user_change::{RecordedChange, What};
use crate::error::{Error, Result};

const COLLECTION: &str = "user_change";

#[derive(Debug, Serialize, Deserialize)]
struct ChangeRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    user_id: bson::Uuid,
    sequence: i64,
    what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role_before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role_after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    actor: String,
    request_id: bson::Uuid,
    time: bson::DateTime,
    hash: Binary,
}

impl ChangeRow {
    fn of(id: Uuid, change: &RecordedChange) -> Self {
        let name = |role: Role| role.as_str().to_owned();
        Self {
            id: id.into(),
            user_id: change.user_id.uuid().into(),
            sequence: change.sequence,
            what: change.what.as_str().to_owned(),
            role_before: change.what.roles().map(|(before, _)| name(before)),
            role_after: change.what.roles().map(|(_, after)| name(after)),
            currency: change.what.currency().map(|currency| currency.code().to_owned()),
            actor: change.actor.clone(),
            request_id: change.request_id.into(),
            time: from_time(change.time),
            hash: binary(&change.hash),
        }
    }
}

impl TryFrom<ChangeRow> for RecordedChange {
    type Error = Error;

    fn try_from(row: ChangeRow) -> Result<Self> {
        let role = |name: Option<String>| {
            let role = name.map(|name| name.parse::<Role>());
            role.transpose().map_err(|error: String| Error::internal(error))
        };
        let roles = role(row.role_before)?.zip(role(row.role_after)?);
        let currency =
            row.currency.map(|code| code.parse::<Currency>()).transpose().map_err(Error::internal)?;
        let what = What::from_parts(&row.what, roles, currency);
        Ok(Self {
            user_id: UserId::from_uuid(row.user_id.into()),
            sequence: row.sequence,
            what: what.ok_or_else(|| Error::internal(format!("a change of a user is {:?}", row.what)))?,
            actor: row.actor,
            request_id: row.request_id.into(),
            time: to_time(row.time),
            hash: hash(&row.hash)?,
        })
    }
}

impl Store {
    /// The latest changes of a user below `below`, at most `limit`.
    pub(crate) async fn user_change_list(
        &self,
        user_id: UserId,
        below: i64,
        limit: i64,
    ) -> Result<Vec<RecordedChange>> {
        let changes = self.collection::<ChangeRow>(COLLECTION);
        let filter = doc! {
            "user_id": bson::Uuid::from(user_id.uuid()),
            "sequence": { "$gt": 0_i64, "$lt": below },
        };
        let find = changes.find(filter).sort(doc! { "sequence": -1 }).limit(limit).max_time(SERVER_TIME);
        let rows: Vec<ChangeRow> = bounded(bounded(find).await?.try_collect()).await?;
        rows.into_iter().map(RecordedChange::try_from).collect()
    }
}

impl Tx {
    /// Records a change that this transaction does. The user whom it writes states it.
    pub(crate) fn user_change_insert(&mut self, id: Uuid, change: &RecordedChange) -> Result<()> {
        let row = bson::serialize_to_document(&ChangeRow::of(id, change)).map_err(Error::internal)?;
        self.insert(COLLECTION, row, Some(conflict));
        Ok(())
    }
}
