//! Users. The unique index on the normal form of the e-mail address decides between two who claim one.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::UpdateOneModel;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use types::UserId;

use super::driver::bounded;
use super::requests::Outcome;
use super::statistics::SumsRow;
use super::{SERVER_TIME, Store, Tx, from_time, to_time};
use crate::domain::email::{Email, EmailKey};
use crate::domain::user::{Profile, User, UserRefused, UserState};
use crate::error::{Error, Result};

const COLLECTION: &str = "user";

/// A user as the database has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct UserRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    email: String,
    email_key: String,
    display_name: String,
    role: String,
    state: StateRow,
    auth_epoch: i64,
    post_count: i64,
    version: i64,
    event_version: i64,
    create_time: bson::DateTime,
    update_time: bson::DateTime,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateRow {
    Active,
    Deactivated,
}

#[derive(Debug, Deserialize)]
struct UserStateRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    state: StateRow,
}

impl From<StateRow> for UserState {
    fn from(row: StateRow) -> Self {
        match row {
            StateRow::Active => Self::Active,
            StateRow::Deactivated => Self::Deactivated,
        }
    }
}

impl From<&User> for UserRow {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.uuid().into(),
            email: user.email.address().to_owned(),
            email_key: user.email.key().as_str().to_owned(),
            display_name: user.display_name.clone(),
            role: user.role.as_str().to_owned(),
            state: match user.state {
                UserState::Active => StateRow::Active,
                UserState::Deactivated => StateRow::Deactivated,
            },
            auth_epoch: user.auth_epoch,
            post_count: user.post_count,
            version: user.version,
            event_version: user.event_version,
            create_time: from_time(user.create_time),
            update_time: from_time(user.update_time),
        }
    }
}

impl TryFrom<UserRow> for User {
    type Error = Error;

    fn try_from(row: UserRow) -> Result<Self> {
        Ok(Self {
            id: UserId::from_uuid(row.id.into()),
            email: Email::from_row(row.email, row.email_key),
            display_name: row.display_name,
            role: row.role.parse().map_err(|error: String| Error::internal(error))?,
            state: row.state.into(),
            auth_epoch: row.auth_epoch,
            post_count: row.post_count,
            version: row.version,
            event_version: row.event_version,
            create_time: to_time(row.create_time),
            update_time: to_time(row.update_time),
        })
    }
}

/// A user as a call was answered with one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProfileRow {
    user: UserRow,
    statistics: SumsRow,
}

impl Outcome for Profile {
    const KIND: &'static str = "user";
    type Row = ProfileRow;

    fn to_row(&self) -> ProfileRow {
        ProfileRow { user: (&self.user).into(), statistics: self.statistics.into() }
    }

    fn from_row(row: ProfileRow) -> Result<Self> {
        Ok(Self { user: row.user.try_into()?, statistics: row.statistics.into() })
    }
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

    /// At most `limit` users above `after`, in the order of their ids.
    pub(crate) async fn user_list(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>> {
        let filter =
            after.map_or_else(Document::new, |id| doc! { "_id": { "$gt": bson::Uuid::from(id.uuid()) } });
        let users = self.collection::<UserRow>(COLLECTION);
        let find = users.find(filter).sort(doc! { "_id": 1 });
        let rows = bounded(find.limit(i64::from(limit)).max_time(SERVER_TIME)).await?;
        let rows: Vec<UserRow> = bounded(rows.try_collect()).await?;
        rows.into_iter().map(User::try_from).collect()
    }

    async fn user_find(&self, filter: Document) -> Result<Option<User>> {
        let users = self.collection::<UserRow>(COLLECTION);
        // By a unique key: no work that the server would have to be kept from.
        let row = bounded(users.find_one(filter)).await?;
        row.map(User::try_from).transpose()
    }
}

impl Tx {
    /// A user by id, as of this transaction's snapshot.
    pub(crate) async fn user_fetch(&mut self, id: UserId) -> Result<Option<User>> {
        let (users, session) = self.on::<UserRow>(COLLECTION);
        let row = bounded(users.find_one(by_id(id)).session(session)).await?;
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
        let row = bounded(users.find_one(doc! { "email_key": key.as_str() }).session(session)).await?;
        row.map(User::try_from).transpose()
    }

    /// Inserts a new user; comes to [`UserRefused::EmailTaken`] when somebody has the address.
    pub(crate) fn user_insert(&mut self, user: &User) -> Result<()> {
        self.insert(COLLECTION, document(user)?, Some(|| UserRefused::EmailTaken.into()));
        Ok(())
    }

    /// Writes a user's next version over the one before.
    pub(crate) fn user_update(&mut self, user: &User) -> Result<()> {
        let before = doc! { "_id": bson::Uuid::from(user.id.uuid()), "version": user.version - 1 };
        self.replace(COLLECTION, before, document(user)?);
        Ok(())
    }

    /// Adds to the number of posts that a user owns, who must be active. [`Tx::flush_for_active`] says what else the
    /// user is.
    pub(crate) fn user_post_count_add(&mut self, id: UserId, more: i64, now: OffsetDateTime) {
        let active = doc! { "_id": bson::Uuid::from(id.uuid()), "state": "active" };
        let change = doc! {
            "$inc": { "post_count": more, "version": 1_i64 },
            "$set": { "update_time": from_time(now) },
        };
        let users = self.namespace(COLLECTION);
        let add = UpdateOneModel::builder().namespace(users).filter(active).update(change).build();
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
                Some((_, UserState::Deactivated)) => return Err(UserRefused::Deactivated(*user).into()),
                Some((_, UserState::Active)) => {}
            }
        }
        Err(error)
    }
}

fn document(user: &User) -> Result<Document> {
    bson::serialize_to_document(&UserRow::from(user)).map_err(Error::internal)
}

fn by_id(id: UserId) -> Document {
    doc! { "_id": bson::Uuid::from(id.uuid()) }
}
