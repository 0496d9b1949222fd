//! What is shown of a user, to whom, and which parts of it somebody wants to see.

use time::OffsetDateTime;
use types::{Role, UserId};

use super::profile::Profile;
use super::user::{OrderStatistics, User, UserState, WholeUser};

/// Who looks at a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// The user.
    Owner,
    /// An admin who is somebody else.
    Admin,
    /// Another service.
    Service,
    /// Anybody else who is logged in.
    Other,
}

/// A part of a user that can be read without the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserField {
    Email,
    Role,
    Statistics,
    LastLoginTime,
    AuthEpoch,
}

impl Viewer {
    /// Whether this viewer may see that part of a user. Of a location, [`UserView::seen_by`] says more.
    pub(crate) fn sees(self, field: UserField) -> bool {
        match field {
            UserField::AuthEpoch => self == Self::Service,
            UserField::Email | UserField::Role | UserField::Statistics | UserField::LastLoginTime => {
                self != Self::Other
            }
        }
    }
}

/// As much of a user as was read. What was not is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserView {
    pub(crate) id: UserId,
    pub(crate) email: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) role: Option<Role>,
    pub(crate) state: Option<UserState>,
    pub(crate) auth_epoch: Option<i64>,
    pub(crate) post_count: Option<i64>,
    pub(crate) version: Option<i64>,
    pub(crate) event_version: Option<i64>,
    pub(crate) create_time: Option<OffsetDateTime>,
    pub(crate) update_time: Option<OffsetDateTime>,
    pub(crate) username: Option<String>,
    /// Of which everything may be `None`.
    pub(crate) profile: Profile,
    pub(crate) last_login_time: Option<OffsetDateTime>,
    pub(crate) statistics: Option<OrderStatistics>,
}

impl UserView {
    /// What this viewer may see of it. An unshared location is for its owner alone.
    pub(crate) fn seen_by(self, viewer: Viewer) -> Self {
        let profile = if viewer == Viewer::Owner { self.profile } else { self.profile.for_others() };
        Self {
            email: self.email.filter(|_| viewer.sees(UserField::Email)),
            role: self.role.filter(|_| viewer.sees(UserField::Role)),
            auth_epoch: self.auth_epoch.filter(|_| viewer.sees(UserField::AuthEpoch)),
            last_login_time: self.last_login_time.filter(|_| viewer.sees(UserField::LastLoginTime)),
            statistics: self.statistics.filter(|_| viewer.sees(UserField::Statistics)),
            profile,
            ..self
        }
    }
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        Self {
            id: user.id,
            email: Some(user.email.address().to_owned()),
            display_name: Some(user.display_name.clone()),
            role: Some(user.role),
            state: Some(user.state),
            auth_epoch: Some(user.auth_epoch),
            post_count: Some(user.post_count),
            version: Some(user.version),
            event_version: Some(user.event_version),
            create_time: Some(user.create_time),
            update_time: Some(user.update_time),
            username: user.username.as_ref().map(|username| username.as_str().to_owned()),
            profile: user.profile.clone(),
            last_login_time: user.last_login_time,
            statistics: None,
        }
    }
}

impl From<&WholeUser> for UserView {
    fn from(whole: &WholeUser) -> Self {
        Self { statistics: Some(whole.statistics), ..(&whole.user).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::Location;
    use super::*;

    fn ann() -> UserView {
        let (id, email) = (UserId::from_uuid(uuid::Uuid::from_u128(1)), "ann@example.com".parse().unwrap());
        let now = OffsetDateTime::UNIX_EPOCH;
        let user = User { last_login_time: Some(now), ..User::sign_up(id, email, "Ann".to_owned(), now) };
        let profile = Profile { location: Location::from_e7(1, 1).ok(), ..Profile::default() };
        UserView { profile, ..(&WholeUser { user, statistics: OrderStatistics::default() }).into() }
    }

    #[test]
    fn everybody_sees_what_is_theirs_to_see() {
        let ann = ann();
        let unlocated = UserView { profile: Profile::default(), ..ann.clone() };
        let admins = UserView { auth_epoch: None, ..unlocated.clone() };
        let public =
            UserView { email: None, role: None, last_login_time: None, statistics: None, ..admins.clone() };
        assert_eq!(ann.clone().seen_by(Viewer::Owner), UserView { auth_epoch: None, ..ann.clone() });
        assert_eq!(ann.clone().seen_by(Viewer::Admin), admins);
        assert_eq!(ann.clone().seen_by(Viewer::Service), unlocated);
        assert_eq!(ann.seen_by(Viewer::Other), public);
    }
}
