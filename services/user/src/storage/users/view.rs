//! Users as they are read to be shown: by a projection, so that MongoDB sends no more of them than was asked for.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use types::UserId;

use super::by_id;
use super::row::{COLLECTION, ProfileRow, StateRow};
use super::search::without_search;
use crate::domain::email::EmailKey;
use crate::domain::user_view::{UserField, UserFields, UserView};
use crate::error::{Error, Result};
use crate::storage::driver::bounded;
use crate::storage::{SERVER_TIME, Store, to_time};

/// As much of a user as a projection leaves.
#[derive(Debug, Deserialize)]
pub(super) struct UserViewRow {
    #[serde(rename = "_id")]
    pub(super) id: bson::Uuid,
    email: Option<String>,
    display_name: Option<String>,
    role: Option<String>,
    state: Option<StateRow>,
    auth_epoch: Option<i64>,
    post_count: Option<i64>,
    version: Option<i64>,
    event_version: Option<i64>,
    pub(super) create_time: Option<bson::DateTime>,
    update_time: Option<bson::DateTime>,
    username: Option<String>,
    profile: Option<ProfileRow>,
    pub(super) last_login_time: Option<bson::DateTime>,
    /// For lists that are ordered by it.
    pub(super) search: Option<NameKeyRow>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NameKeyRow {
    pub(super) name_key: Option<String>,
}

impl TryFrom<UserViewRow> for UserView {
    type Error = Error;

    fn try_from(row: UserViewRow) -> Result<Self> {
        let role = row.role.map(|role| role.parse().map_err(|error: String| Error::internal(error)));
        Ok(Self {
            id: UserId::from_uuid(row.id.into()),
            email: row.email,
            display_name: row.display_name,
            role: role.transpose()?,
            state: row.state.map(Into::into),
            auth_epoch: row.auth_epoch,
            post_count: row.post_count,
            version: row.version,
            event_version: row.event_version,
            create_time: row.create_time.map(to_time),
            update_time: row.update_time.map(to_time),
            username: row.username,
            profile: row.profile.unwrap_or_default().into(),
            last_login_time: row.last_login_time.map(to_time),
            statistics: None,
            recent_posts: Vec::new(),
            follows: None,
        })
    }
}

impl Store {
    /// These parts of a user.
    pub(crate) async fn user_view_fetch(&self, id: UserId, fields: &UserFields) -> Result<Option<UserView>> {
        self.user_view_find(by_id(id), fields).await
    }

    /// These parts of the user who has an e-mail address.
    pub(crate) async fn user_view_fetch_by_email(
        &self,
        key: &EmailKey,
        fields: &UserFields,
    ) -> Result<Option<UserView>> {
        self.user_view_find(doc! { "email_key": key.as_str() }, fields).await
    }

    /// These parts of many users, in no particular order.
    pub(crate) async fn user_view_list(&self, ids: &[UserId], fields: &UserFields) -> Result<Vec<UserView>> {
        let ids: Vec<bson::Uuid> = ids.iter().map(|id| id.uuid().into()).collect();
        let users = self.collection::<UserViewRow>(COLLECTION);
        let find = users.find(doc! { "_id": { "$in": ids } }).projection(projection(fields));
        let rows = bounded(find.max_time(SERVER_TIME)).await?;
        let rows: Vec<UserViewRow> = bounded(rows.try_collect()).await?;
        rows.into_iter().map(UserView::try_from).collect()
    }

    async fn user_view_find(&self, filter: Document, fields: &UserFields) -> Result<Option<UserView>> {
        let users = self.collection::<UserViewRow>(COLLECTION);
        let row = bounded(users.find_one(filter).projection(projection(fields))).await?;
        row.map(UserView::try_from).transpose()
    }
}

/// What MongoDB shall send: what is wanted, or all but what is nobody's to see.
pub(super) fn projection(fields: &UserFields) -> Document {
    let Some(fields) = fields.listed() else { return without_search() };
    let mut projection = doc! { "_id": 1 };
    for field in fields {
        if let Some(name) = name(*field) {
            projection.insert(name, 1);
        }
    }
    projection
}

/// Where a part is in the document; `None` for what is in another one.
fn name(field: UserField) -> Option<&'static str> {
    Some(match field {
        UserField::Email => "email",
        UserField::DisplayName => "display_name",
        UserField::Role => "role",
        UserField::State => "state",
        UserField::CreateTime => "create_time",
        UserField::UpdateTime => "update_time",
        UserField::Etag => "version",
        UserField::PostCount => "post_count",
        UserField::Statistics | UserField::RecentPosts | UserField::Counts => return None,
        UserField::Version => "event_version",
        UserField::Username => "username",
        UserField::GivenName => "profile.given_name",
        UserField::FamilyName => "profile.family_name",
        UserField::Bio => "profile.bio",
        UserField::AvatarUrl => "profile.avatar_url",
        UserField::Twitter => "profile.twitter",
        UserField::Facebook => "profile.facebook",
        UserField::Linkedin => "profile.linkedin",
        UserField::Location => "profile.location",
        UserField::LocationShared => "profile.location_shared",
        UserField::LastLoginTime => "last_login_time",
        UserField::AuthEpoch => "auth_epoch",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mongodb_is_asked_for_what_is_wanted_and_for_nothing_else() {
        let of = |fields: &[UserField]| projection(&UserFields::of(fields.iter().copied()));
        assert_eq!(projection(&UserFields::everything()), doc! { "search": 0 });
        assert_eq!(of(&[]), doc! { "_id": 1 });
        assert_eq!(of(&[UserField::Statistics, UserField::RecentPosts]), doc! { "_id": 1 });
        let wanted = [UserField::Etag, UserField::Bio, UserField::Bio];
        assert_eq!(of(&wanted), doc! { "_id": 1, "version": 1, "profile.bio": 1 });
    }
}
