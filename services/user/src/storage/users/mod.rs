//! Users. The unique index on the normal form of the e-mail address decides between two who claim one, and the key of a
//! claim between two who want one username. A user is changed by `$set` of what has changed and by nothing else: what a
//! later release keeps in the document is left alone.

mod fill;
mod find;
mod list;
mod row;
mod search;
mod usernames;
mod view;
mod walk;

use bson::{Binary, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::UpdateOneModel;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use types::UserId;

use super::driver::bounded;
use super::writes::conflict;
use super::{Store, Tx, from_time};
use crate::domain::email::EmailKey;
use crate::domain::user::{User, UserRefused, UserState};
use crate::domain::user_change::Record;
use crate::domain::user_search::Said;
use crate::error::{Error, Result};
pub(crate) use fill::SearchFill;
use row::{COLLECTION, StateRow, UserRow};
use search::without_search;
pub(crate) use walk::Walk;

/// How exactly it is kept when somebody logged in last: more would be a write for each login.
const LOGIN_NOTED_EVERY: Duration = Duration::MINUTE;

#[derive(Debug, Deserialize)]
struct UserStateRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    state: StateRow,
}

#[derive(Debug, Deserialize)]
struct RecordRow {
    change_count: Option<i64>,
    change_head: Option<Binary>,
}

impl Store {
    /// A user by id.
    pub(crate) async fn user_fetch(&self, id: UserId) -> Result<Option<User>> {
        self.user_find(by_id(id)).await
    }

    /// The user who has an e-mail address.
    pub(crate) async fn user_fetch_by_email(&self, key: &EmailKey) -> Result<Option<User>> {
        self.user_find(doc! { "email_key": key.as_str() }).await
    }

    /// Keeps that a user has logged in, unless that was kept within the last minute. It is no change of the user: nothing
    /// that a transaction has read of one depends on it, so it is done in none.
    pub(crate) async fn user_note_login(&self, id: UserId, now: OffsetDateTime) -> Result<()> {
        let users = self.collection::<Document>(COLLECTION);
        // Of somebody who is gone by now nothing is kept.
        let mut before = doc! { "_id": bson::Uuid::from(id.uuid()), "state": "active" };
        before.insert("last_login_time", doc! { "$not": { "$gt": from_time(now - LOGIN_NOTED_EVERY) } });
        let change = doc! { "$set": { "last_login_time": from_time(now) } };
        bounded(users.update_one(before, change)).await.map(drop)
    }

    /// Where the record of a user's changes ends; `None` when there is no such user.
    pub(crate) async fn user_record_fetch(&self, id: UserId) -> Result<Option<Record>> {
        let users = self.collection::<RecordRow>(COLLECTION);
        let find = users.find_one(by_id(id)).projection(doc! { "change_count": 1, "change_head": 1 });
        let row = bounded(find).await?;
        row.map(|row| row::record(row.change_count, row.change_head.as_ref())).transpose()
    }

    /// Whether a user is gone.
    pub(crate) async fn user_is_deleted(&self, id: UserId) -> Result<bool> {
        let users = self.collection::<UserStateRow>(COLLECTION);
        let row = bounded(users.find_one(by_id(id)).projection(doc! { "state": 1 })).await?;
        Ok(row.is_some_and(|row| UserState::from(row.state) == UserState::Deleted))
    }

    async fn user_find(&self, filter: Document) -> Result<Option<User>> {
        let users = self.collection::<UserRow>(COLLECTION);
        // By a unique key: no work that the server would have to be kept from.
        let row = bounded(users.find_one(filter).projection(without_search())).await?;
        row.map(User::try_from).transpose()
    }
}

impl Tx {
    /// A user by id, as of this transaction's snapshot.
    pub(crate) async fn user_fetch(&mut self, id: UserId) -> Result<Option<User>> {
        let (users, session) = self.on::<UserRow>(COLLECTION);
        let row = bounded(users.find_one(by_id(id)).projection(without_search()).session(session)).await?;
        row.map(User::try_from).transpose()
    }

    /// Which of these users there are, and in which state, as of this transaction's snapshot.
    pub(crate) async fn user_state_list(&mut self, ids: &[UserId]) -> Result<Vec<(UserId, UserState)>> {
        let ids: Vec<bson::Uuid> = ids.iter().map(|id| id.uuid().into()).collect();
        let (users, session) = self.on::<UserStateRow>(COLLECTION);
        let find = users.find(doc! { "_id": { "$in": ids } }).projection(doc! { "state": 1 });
        let mut rows = bounded(find.session(&mut *session)).await?;
        let rows: Vec<UserStateRow> = bounded(rows.stream(session).try_collect()).await?;
        Ok(rows.into_iter().map(|row| (UserId::from_uuid(row.id.into()), row.state.into())).collect())
    }

    /// The user who has an e-mail address, as of this transaction's snapshot.
    pub(crate) async fn user_fetch_by_email(&mut self, key: &EmailKey) -> Result<Option<User>> {
        let (users, session) = self.on::<UserRow>(COLLECTION);
        let find = users.find_one(doc! { "email_key": key.as_str() }).projection(without_search());
        let row = bounded(find.session(session)).await?;
        row.map(User::try_from).transpose()
    }

    /// Inserts a new user; comes to [`UserRefused::EmailTaken`] when somebody has the address.
    pub(crate) fn user_insert(&mut self, user: &User) -> Result<()> {
        let mut row = document(user)?;
        row.insert(search::FIELD, search::document(Said::from(user))?);
        self.insert(COLLECTION, row, Some(|| UserRefused::EmailTaken.into()));
        Ok(())
    }

    /// Writes what a change made of a user, guarded by the version before it.
    pub(crate) fn user_update(&mut self, before: &User, user: &User) -> Result<()> {
        let guard = doc! { "_id": bson::Uuid::from(user.id.uuid()), "version": before.version };
        let change = change(before, user)?;
        let users = self.namespace(COLLECTION);
        self.update(UpdateOneModel::builder().namespace(users).filter(guard).update(change).build());
        Ok(())
    }

    /// The same for a user who has another e-mail address. The document is taken out and put back, with all that it has:
    /// MongoDB gives up and takes keys of a unique index with any write, the stand-in for it only with these.
    pub(crate) async fn user_update_email(&mut self, before: &User, user: &User) -> Result<()> {
        let guard = doc! { "_id": bson::Uuid::from(user.id.uuid()), "version": before.version };
        let (users, session) = self.on::<Document>(COLLECTION);
        let mut row = bounded(users.find_one(guard.clone()).session(session)).await?.ok_or_else(conflict)?;
        let before = document(before)?;
        row.extend(document(user)?.into_iter().filter(|(field, value)| before.get(field) != Some(value)));
        self.delete(COLLECTION, guard);
        self.insert(COLLECTION, row, Some(conflict));
        Ok(())
    }

    /// Writes what was recorded of a user who is not changed otherwise, guarded by the record before it.
    pub(crate) fn user_record_update(&mut self, before: &User, user: &User) -> Result<()> {
        let count = Some(before.record.count).filter(|count| *count > 0);
        let guard = doc! { "_id": bson::Uuid::from(user.id.uuid()), "change_count": count };
        let change = difference(&document(before)?, document(user)?);
        let users = self.namespace(COLLECTION);
        self.update(UpdateOneModel::builder().namespace(users).filter(guard).update(change).build());
        Ok(())
    }

    /// Leaves of a user what this says and nothing besides, whatever a later release keeps in the document. It is taken out
    /// and put back, as for another e-mail address.
    pub(crate) fn user_erase(&mut self, before: &User, user: &User) -> Result<()> {
        let guard = doc! { "_id": bson::Uuid::from(user.id.uuid()), "version": before.version };
        self.delete(COLLECTION, guard);
        self.insert(COLLECTION, document(user)?, Some(conflict));
        Ok(())
    }

    /// Adds to the number of posts that a user owns, who must be active. [`Tx::flush_for_active`] says what else the
    /// user is.
    pub(crate) fn user_post_count_add(&mut self, id: UserId, more: i64) {
        let active = doc! { "_id": bson::Uuid::from(id.uuid()), "state": "active" };
        self.post_count_add(active, more);
    }

    /// Takes from the number of posts that a user owns, in whatever state the user is.
    pub(crate) fn user_post_count_take(&mut self, id: UserId, fewer: i64) {
        self.post_count_add(by_id(id), -fewer);
    }

    /// A count is nothing that somebody edits, so neither the version nor the time of the user's last change tells of it.
    fn post_count_add(&mut self, whom: Document, more: i64) {
        let change = doc! { "$inc": { "post_count": more } };
        let users = self.namespace(COLLECTION);
        let add = UpdateOneModel::builder().namespace(users).filter(whom).update(change).build();
        self.update(add);
    }

    /// Sends what was collected. What comes to a conflict because one of these users is not active is refused with that.
    pub(crate) async fn flush_for_active(&mut self, users: &[UserId]) -> Result<()> {
        let Err(error) = self.flush().await else { return Ok(()) };
        if !error.is_contention() {
            return Err(error);
        }
        let states = self.user_state_list(users).await?;
        for user in users {
            match states.iter().find(|(id, _)| id == user) {
                None => return Err(UserRefused::NotFound(*user).into()),
                Some((_, state)) => state.require_active(*user)?,
            }
        }
        Err(error)
    }
}

fn document(user: &User) -> Result<Document> {
    bson::serialize_to_document(&UserRow::from(user)).map_err(Error::internal)
}

/// The update that makes of a user what they are now. By what they are found is written if what it is made of has changed.
fn change(before: &User, user: &User) -> Result<Document> {
    let mut change = difference(&document(before)?, document(user)?);
    let said = Said::from(user);
    if said != Said::from(before) {
        let search = doc! { search::FIELD: search::document(said)? };
        match change.get_document_mut("$set") {
            Ok(set) => set.extend(search),
            Err(_) => drop(change.insert("$set", search)),
        }
    }
    Ok(change)
}

/// The update that makes one document of another.
fn difference(before: &Document, after: Document) -> Document {
    let gone: Document = before
        .keys()
        .filter(|field| !after.contains_key(field))
        .map(|field| (field.clone(), bson::Bson::from("")))
        .collect();
    let set: Document = after.into_iter().filter(|(field, value)| before.get(field) != Some(value)).collect();
    [("$set", set), ("$unset", gone)]
        .into_iter()
        .filter(|(_, fields)| !fields.is_empty())
        .map(|(operator, fields)| (operator.to_owned(), bson::Bson::from(fields)))
        .collect()
}

fn by_id(id: UserId) -> Document {
    doc! { "_id": bson::Uuid::from(id.uuid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_names_what_has_changed_and_nothing_else() {
        let before = doc! { "_id": 1, "a": "same", "b": 1_i64, "c": { "d": 1 } };
        let after = doc! { "_id": 1, "a": "same", "b": 2_i64, "e": true };
        let expected = doc! { "$set": { "b": 2_i64, "e": true }, "$unset": { "c": "" } };
        assert_eq!(difference(&before, after), expected);
        assert_eq!(difference(&before, before.clone()), doc! {});
    }
}
