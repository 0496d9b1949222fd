//! What is shown of a user, to whom, and which parts of it somebody wants to see.

use time::OffsetDateTime;
use types::{Role, UserId};

use super::counters::FollowCounts;
use super::post::Post;
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
    DisplayName,
    Role,
    State,
    CreateTime,
    UpdateTime,
    Etag,
    PostCount,
    Statistics,
    Version,
    Username,
    GivenName,
    FamilyName,
    Bio,
    AvatarUrl,
    Twitter,
    Facebook,
    Linkedin,
    Location,
    LocationShared,
    LastLoginTime,
    AuthEpoch,
    /// Read only where it is named.
    RecentPosts,
    Counts,
}

impl UserField {
    /// All of them.
    pub(crate) const ALL: [Self; 24] = [
        Self::Email,
        Self::DisplayName,
        Self::Role,
        Self::State,
        Self::CreateTime,
        Self::UpdateTime,
        Self::Etag,
        Self::PostCount,
        Self::Statistics,
        Self::Version,
        Self::Username,
        Self::GivenName,
        Self::FamilyName,
        Self::Bio,
        Self::AvatarUrl,
        Self::Twitter,
        Self::Facebook,
        Self::Linkedin,
        Self::Location,
        Self::LocationShared,
        Self::LastLoginTime,
        Self::AuthEpoch,
        Self::RecentPosts,
        Self::Counts,
    ];
}

/// Which parts of a user somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserFields(Option<Vec<UserField>>);

impl UserFields {
    /// All of them.
    pub(crate) fn everything() -> Self {
        Self(None)
    }

    /// These.
    pub(crate) fn of(fields: impl IntoIterator<Item = UserField>) -> Self {
        Self(Some(fields.into_iter().collect()))
    }

    /// Those of them that this viewer may see.
    pub(crate) fn seen_by(&self, viewer: Viewer) -> Self {
        Self(self.0.as_ref().map(|fields| {
            let seen = fields.iter().copied().filter(|field| viewer.sees(*field));
            seen.collect()
        }))
    }

    /// The same and one more.
    pub(crate) fn and(mut self, field: UserField) -> Self {
        self.0 = self.0.map(|mut fields| {
            fields.push(field);
            fields
        });
        self
    }

    pub(crate) fn contains(&self, field: UserField) -> bool {
        self.0.as_ref().is_none_or(|fields| fields.contains(&field))
    }

    /// Whether this one is among them by name, and not because all are.
    pub(crate) fn names(&self, field: UserField) -> bool {
        self.0.as_ref().is_some_and(|fields| fields.contains(&field))
    }

    /// One by one; `None` for all of them.
    pub(crate) fn listed(&self) -> Option<&[UserField]> {
        self.0.as_deref()
    }
}

impl Viewer {
    /// Whether users who are gone are there for this viewer.
    pub(crate) fn sees_deleted(self) -> bool {
        matches!(self, Self::Admin | Self::Service)
    }

    /// Whether this viewer may see that part of a user. Of a location, [`UserView::seen_by`] says more.
    pub(crate) fn sees(self, field: UserField) -> bool {
        match field {
            UserField::AuthEpoch => self == Self::Service,
            UserField::Email | UserField::Role | UserField::Statistics | UserField::LastLoginTime => {
                self != Self::Other
            }
            _ => true,
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
    /// The last that were published, without their bodies.
    pub(crate) recent_posts: Vec<Post>,
    pub(crate) follows: Option<FollowCounts>,
}

impl UserView {
    /// Whether the user is there for this viewer. The state must have been read.
    pub(crate) fn is_there_for(&self, viewer: Viewer) -> bool {
        self.state != Some(UserState::Deleted) || viewer.sees_deleted()
    }

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
            recent_posts: Vec::new(),
            follows: None,
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

    #[test]
    fn what_a_viewer_may_not_see_is_not_even_asked_for() {
        let wanted = UserFields::of([UserField::Email, UserField::Bio, UserField::AuthEpoch]);
        for (viewer, seen) in [
            (Viewer::Other, &[UserField::Bio][..]),
            (Viewer::Owner, &[UserField::Email, UserField::Bio]),
            (Viewer::Service, &[UserField::Email, UserField::Bio, UserField::AuthEpoch]),
        ] {
            assert_eq!(wanted.seen_by(viewer).listed(), Some(seen), "{viewer:?}");
        }
        assert_eq!(UserFields::everything().seen_by(Viewer::Other).listed(), None);
        assert!(UserFields::everything().contains(UserField::Email) && !wanted.contains(UserField::Role));
    }
}
