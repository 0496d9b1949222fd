//! Password hashes, in a collection of their own that no read of a user touches. The types let nothing in but a
//! hash.

use bson::doc;
use mongodb::options::UpdateOneModel;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use types::UserId;

use super::driver::bounded;
use super::{Store, Tx, from_time};
use crate::domain::password::PasswordHash;
use crate::error::{Error, Result};

const COLLECTION: &str = "credential";

#[derive(Debug, Serialize, Deserialize)]
struct CredentialRow {
    #[serde(rename = "_id")]
    user_id: bson::Uuid,
    password_hash: String,
    update_time: bson::DateTime,
}

impl Store {
    /// A user's password hash.
    pub(crate) async fn credential_fetch(&self, user_id: UserId) -> Result<Option<PasswordHash>> {
        let credentials = self.collection::<CredentialRow>(COLLECTION);
        let find = credentials.find_one(doc! { "_id": bson::Uuid::from(user_id.uuid()) });
        let row = bounded(find).await?;
        Ok(row.map(|row| PasswordHash::from_phc(row.password_hash)))
    }
}

impl Tx {
    /// A user's password hash, as of this transaction's snapshot.
    pub(crate) async fn credential_fetch(&mut self, user_id: UserId) -> Result<Option<PasswordHash>> {
        let (credentials, session) = self.on::<CredentialRow>(COLLECTION);
        let find = credentials.find_one(doc! { "_id": bson::Uuid::from(user_id.uuid()) });
        let row = bounded(find.session(session)).await?;
        Ok(row.map(|row| PasswordHash::from_phc(row.password_hash)))
    }

    /// Gives a user another password, whatever the one before was.
    pub(crate) fn credential_update(&mut self, user_id: UserId, hash: &PasswordHash, now: OffsetDateTime) {
        let filter = doc! { "_id": bson::Uuid::from(user_id.uuid()) };
        let change = doc! { "$set": { "password_hash": hash.as_phc(), "update_time": from_time(now) } };
        let credentials = self.namespace(COLLECTION);
        self.update(UpdateOneModel::builder().namespace(credentials).filter(filter).update(change).build());
    }

    /// Removes the password of somebody who is gone.
    pub(crate) fn credential_delete(&mut self, user_id: UserId) {
        self.delete(COLLECTION, doc! { "_id": bson::Uuid::from(user_id.uuid()) });
    }

    /// Gives a new user a password.
    pub(crate) fn credential_insert(
        &mut self,
        user_id: UserId,
        hash: &PasswordHash,
        now: OffsetDateTime,
    ) -> Result<()> {
        let row = CredentialRow {
            user_id: user_id.uuid().into(),
            password_hash: hash.as_phc().to_owned(),
            update_time: from_time(now),
        };
        let row = bson::serialize_to_document(&row).map_err(Error::internal)?;
        self.insert(COLLECTION, row, None);
        Ok(())
    }

    /// Replaces one hash of a password by another of the same password; `false` when it is not `before` any more.
    pub(crate) async fn credential_rehash(
        &mut self,
        user_id: UserId,
        before: &PasswordHash,
        after: &PasswordHash,
        now: OffsetDateTime,
    ) -> Result<bool> {
        let filter = doc! { "_id": bson::Uuid::from(user_id.uuid()), "password_hash": before.as_phc() };
        let change = doc! { "$set": { "password_hash": after.as_phc(), "update_time": from_time(now) } };
        let (credentials, session) = self.on::<CredentialRow>(COLLECTION);
        let updated = bounded(credentials.update_one(filter, change).session(session)).await?;
        Ok(updated.matched_count == 1)
    }
}
