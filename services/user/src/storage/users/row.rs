//! Users as the database has them, alone and in the answers to calls.

use bson::Binary;
use serde::{Deserialize, Serialize};
use types::UserId;

use crate::domain::email::Email;
use crate::domain::leaving::DeletedUser;
use crate::domain::profile::{HttpsUrl, Location, Profile};
use crate::domain::user::{User, UserState, WholeUser};
use crate::domain::user_change::Record;
use crate::domain::username::Username;
use crate::error::{Error, Result};
use crate::storage::hashes::{binary, hash};
use crate::storage::requests::Outcome;
use crate::storage::statistics::SumsRow;
use crate::storage::{from_time, to_time};

/// Where users are.
pub(super) const COLLECTION: &str = "user";

/// A user as the database has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct UserRow {
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<ProfileRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_login_time: Option<bson::DateTime>,
    /// How many changes are recorded, and the hash of the last; not there where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change_count: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change_head: Option<Binary>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StateRow {
    Active,
    Deactivated,
    Deleted,
}

/// What somebody says of themselves. Whoever says nothing has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProfileRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    given_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bio: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    twitter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facebook: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linkedin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<PointRow>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    location_shared: bool,
}

impl ProfileRow {
    /// Given name, family name and bio.
    pub(super) fn texts(&self) -> [Option<&str>; 3] {
        [&self.given_name, &self.family_name, &self.bio].map(Option::as_deref)
    }

    pub(super) fn location(&self) -> Option<Location> {
        self.location.map(Location::from)
    }
}

/// A place as `GeoJSON` has it, which MongoDB indexes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(super) enum PointRow {
    Point {
        /// Longitude and latitude in degrees.
        coordinates: [f64; 2],
    },
}

impl StateRow {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Deleted => "deleted",
        }
    }
}

impl From<UserState> for StateRow {
    fn from(state: UserState) -> Self {
        match state {
            UserState::Active => Self::Active,
            UserState::Deactivated => Self::Deactivated,
            UserState::Deleted => Self::Deleted,
        }
    }
}

impl From<StateRow> for UserState {
    fn from(row: StateRow) -> Self {
        match row {
            StateRow::Active => Self::Active,
            StateRow::Deactivated => Self::Deactivated,
            StateRow::Deleted => Self::Deleted,
        }
    }
}

impl From<Location> for PointRow {
    fn from(location: Location) -> Self {
        let (longitude, latitude) = location.hundredths();
        Self::Point { coordinates: [longitude, latitude].map(|hundredths| f64::from(hundredths) / 100.0) }
    }
}

impl From<PointRow> for Location {
    fn from(row: PointRow) -> Self {
        let PointRow::Point { coordinates } = row;
        // The nearest double of so few hundredths is nearer to it than to any other.
        let [longitude, latitude] = coordinates.map(|degrees| (degrees * 100.0).round() as i32);
        Self::from_hundredths(longitude, latitude)
    }
}

impl From<&Profile> for ProfileRow {
    fn from(profile: &Profile) -> Self {
        let url = |url: &Option<HttpsUrl>| url.as_ref().map(|url| url.as_str().to_owned());
        Self {
            given_name: profile.given_name.clone(),
            family_name: profile.family_name.clone(),
            bio: profile.bio.clone(),
            avatar_url: url(&profile.avatar_url),
            twitter: url(&profile.twitter),
            facebook: url(&profile.facebook),
            linkedin: url(&profile.linkedin),
            location: profile.location.map(PointRow::from),
            location_shared: profile.location_shared,
        }
    }
}

impl From<ProfileRow> for Profile {
    fn from(row: ProfileRow) -> Self {
        Self {
            given_name: row.given_name,
            family_name: row.family_name,
            bio: row.bio,
            avatar_url: row.avatar_url.map(HttpsUrl::from_row),
            twitter: row.twitter.map(HttpsUrl::from_row),
            facebook: row.facebook.map(HttpsUrl::from_row),
            linkedin: row.linkedin.map(HttpsUrl::from_row),
            location: row.location.map(Location::from),
            location_shared: row.location_shared,
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
            state: user.state.into(),
            auth_epoch: user.auth_epoch,
            post_count: user.post_count,
            version: user.version,
            event_version: user.event_version,
            create_time: from_time(user.create_time),
            update_time: from_time(user.update_time),
            username: user.username.as_ref().map(|username| username.as_str().to_owned()),
            profile: Some(ProfileRow::from(&user.profile)).filter(|row| *row != ProfileRow::default()),
            last_login_time: user.last_login_time.map(from_time),
            change_count: Some(user.record.count).filter(|count| *count > 0),
            change_head: (user.record.count > 0).then(|| binary(&user.record.head)),
        }
    }
}

/// The end of a user's record, which may be empty.
pub(super) fn record(count: Option<i64>, head: Option<&Binary>) -> Result<Record> {
    let Some((count, head)) = count.zip(head) else { return Ok(Record::default()) };
    Ok(Record { count, head: hash(head)? })
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
            username: row.username.map(Username::from_row),
            profile: row.profile.unwrap_or_default().into(),
            last_login_time: row.last_login_time.map(to_time),
            record: record(row.change_count, row.change_head.as_ref())?,
        })
    }
}

/// What is told of a deletion.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeletedRow {
    user: bson::Uuid,
}

impl Outcome for DeletedUser {
    const KIND: &'static str = "user_deleted";
    type Row = DeletedRow;

    fn to_row(&self) -> DeletedRow {
        DeletedRow { user: self.0.uuid().into() }
    }

    fn from_row(row: DeletedRow) -> Result<Self> {
        Ok(Self(UserId::from_uuid(row.user.into())))
    }
}

/// A user as a call was answered with one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WholeUserRow {
    user: UserRow,
    statistics: SumsRow,
}

impl Outcome for WholeUser {
    const KIND: &'static str = "user";
    type Row = WholeUserRow;

    fn to_row(&self) -> WholeUserRow {
        // Where the record ends is no part of an answer.
        let user = UserRow { change_count: None, change_head: None, ..(&self.user).into() };
        WholeUserRow { user, statistics: self.statistics.into() }
    }

    fn from_row(row: WholeUserRow) -> Result<Self> {
        Ok(Self { user: row.user.try_into()?, statistics: row.statistics.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hundredth_of_a_degree_is_read_back_as_it_was_written() {
        for longitude in -18_000..18_000 {
            let place = Location::from_hundredths(longitude, longitude / 2);
            assert_eq!(Location::from(PointRow::from(place)), place, "{longitude}");
        }
    }

    #[test]
    fn a_place_is_stored_as_geojson() {
        let place = Location::from_e7(-1_391_234_567, 356_900_000).unwrap();
        let stored = bson::serialize_to_document(&PointRow::from(place)).unwrap();
        assert_eq!(stored, bson::doc! { "type": "Point", "coordinates": [-139.12, 35.69] });
    }
}
