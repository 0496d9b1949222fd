//! A person, and what may become of one.

use time::OffsetDateTime;
use types::{Call, Role, UserId};

use super::email::Email;
use super::leaving::Left;
use super::profile::{Profile, ProfileChange};
use super::user_change::{Record, RecordedChange, What};
use super::username::Username;

/// Why a call about a user was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserRefused {
    /// No such user, or not for this caller.
    #[error("there is no user {0}")]
    NotFound(UserId),
    /// Some of the users that were asked for are not there: these.
    #[error("{} of the users are not there", .0.len())]
    Missing(Vec<UserId>),
    /// Nobody has the e-mail address.
    #[error("no user has this e-mail address")]
    NobodyAt,
    /// Nobody has the username.
    #[error("no user has this username")]
    NobodyNamed,
    /// Another user has the e-mail address.
    #[error("another user has this e-mail address")]
    EmailTaken,
    /// Another user has the username, or one that looks like it, or had it once.
    #[error("this username is another user's, or looks like one that is or was")]
    UsernameTaken,
    /// The user is deactivated.
    #[error("user {0} is deactivated")]
    Deactivated(UserId),
    /// The user cannot be deleted before this is settled.
    #[error("user {user_id} still has something")]
    HasBalance {
        /// Who has.
        user_id: UserId,
        /// What it is.
        left: Vec<Left>,
    },
    /// The user is not deactivated.
    #[error("user {0} is active")]
    Active(UserId),
    /// Admins change each other's roles, never their own.
    #[error("you cannot change your own role")]
    OwnRole,
    /// The e-mail address or the password is wrong; the caller does not hear which.
    #[error("the e-mail address or the password is wrong")]
    InvalidCredentials,
    /// The caller's etag is not the present one.
    #[error("the user has changed since it was read")]
    VersionMismatch(UserId),
}

/// What a user may do at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserState {
    /// May log in, pay, receive.
    Active,
    /// May not log in, and receives refunds only.
    Deactivated,
    /// Is gone. A user like this is there for admins and services, so that what names the user makes sense; nothing is
    /// kept of the person.
    Deleted,
}

impl UserState {
    /// Refuses a user who is not active. Who is gone was never there.
    pub(crate) fn require_active(self, id: UserId) -> Result<(), UserRefused> {
        match self {
            Self::Active => Ok(()),
            Self::Deactivated => Err(UserRefused::Deactivated(id)),
            Self::Deleted => Err(UserRefused::NotFound(id)),
        }
    }
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) email: Email,
    pub(crate) display_name: String,
    pub(crate) role: Role,
    pub(crate) state: UserState,
    /// Raised by each change that ends sessions: a session made with a lower one is dead.
    pub(crate) auth_epoch: i64,
    /// How many posts the user owns.
    pub(crate) post_count: i64,
    /// Counts changes: the etag.
    pub(crate) version: i64,
    /// Counts events.
    pub(crate) event_version: i64,
    pub(crate) create_time: OffsetDateTime,
    pub(crate) update_time: OffsetDateTime,
    pub(crate) username: Option<Username>,
    pub(crate) profile: Profile,
    /// To the minute. Not counted as a change.
    pub(crate) last_login_time: Option<OffsetDateTime>,
    /// Where the record of changes ends.
    pub(crate) record: Record,
}

/// What a user says of themselves; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserChange {
    pub(crate) display_name: Option<String>,
    /// `Some(None)` gives it up.
    pub(crate) username: Option<Option<Username>>,
    pub(crate) profile: ProfileChange,
}

impl User {
    /// Somebody who signs up. The role is not the caller's to choose: see [`User::bootstrap_admin`].
    pub(crate) fn sign_up(id: UserId, email: Email, display_name: String, now: OffsetDateTime) -> Self {
        Self {
            id,
            email,
            display_name,
            role: Role::Customer,
            state: UserState::Active,
            auth_epoch: 1,
            post_count: 0,
            version: 1,
            event_version: 1,
            create_time: now,
            update_time: now,
            username: None,
            profile: Profile::default(),
            last_login_time: None,
            record: Record::default(),
        }
    }

    /// The first admin, made by whoever can reach the database.
    pub(crate) fn bootstrap_admin(
        id: UserId,
        email: Email,
        display_name: String,
        now: OffsetDateTime,
    ) -> Self {
        Self { role: Role::Admin, ..Self::sign_up(id, email, display_name, now) }
    }

    /// The user after being deactivated: sessions end.
    pub(crate) fn deactivated(&self, now: OffsetDateTime) -> Result<Self, UserRefused> {
        self.require_active()?;
        Ok(Self { state: UserState::Deactivated, ..self.with_sessions_ended(now) })
    }

    /// The user with another role: sessions end, because each carries the role that it was made with.
    pub(crate) fn with_role(&self, role: Role, now: OffsetDateTime) -> Result<Self, UserRefused> {
        self.require_active()?;
        Ok(Self { role, ..self.with_sessions_ended(now) })
    }

    /// The user with what they now say of themselves.
    pub(crate) fn updated(&self, change: UserChange, now: OffsetDateTime) -> Result<Self, UserRefused> {
        self.require_active()?;
        let profile = self.profile.changed(change.profile);
        let mut user = Self { profile, ..self.changed(now) };
        user.display_name = change.display_name.unwrap_or(user.display_name);
        user.username = change.username.unwrap_or(user.username);
        Ok(user)
    }

    /// The user after being let in again.
    pub(crate) fn reactivated(&self, now: OffsetDateTime) -> Result<Self, UserRefused> {
        match self.state {
            UserState::Active => Err(UserRefused::Active(self.id)),
            UserState::Deactivated => Ok(Self { state: UserState::Active, ..self.changed(now) }),
            UserState::Deleted => Err(UserRefused::NotFound(self.id)),
        }
    }

    /// The user at another address.
    pub(crate) fn with_email(&self, email: Email, now: OffsetDateTime) -> Result<Self, UserRefused> {
        self.require_active()?;
        Ok(Self { email, ..self.changed(now) })
    }

    /// The user, who has another password: sessions end.
    pub(crate) fn with_new_password(&self, now: OffsetDateTime) -> Result<Self, UserRefused> {
        self.require_active()?;
        Ok(self.with_sessions_ended(now))
    }

    /// What is left of the user who is gone: sessions end, and nothing of the person stays.
    pub(crate) fn deleted(&self, now: OffsetDateTime) -> Result<Self, UserRefused> {
        self.require_there()?;
        Ok(Self {
            state: UserState::Deleted,
            email: Email::of_nobody(self.id),
            display_name: String::new(),
            username: None,
            profile: Profile::default(),
            last_login_time: None,
            ..self.with_sessions_ended(now)
        })
    }

    /// Records what a call has done to the user.
    pub(crate) fn record(&mut self, what: What, call: &Call, now: OffsetDateTime) -> RecordedChange {
        self.record.add(self.id, what, call, now)
    }

    /// Refuses whoever is not active.
    pub(crate) fn require_active(&self) -> Result<(), UserRefused> {
        self.state.require_active(self.id)
    }

    /// Refuses who is gone.
    pub(crate) fn require_there(&self) -> Result<(), UserRefused> {
        match self.state {
            UserState::Active | UserState::Deactivated => Ok(()),
            UserState::Deleted => Err(UserRefused::NotFound(self.id)),
        }
    }

    /// Refuses an etag that is not the present one.
    pub(crate) fn require_version(&self, etag: Option<i64>) -> Result<(), UserRefused> {
        match etag {
            Some(version) if version != self.version => Err(UserRefused::VersionMismatch(self.id)),
            Some(_) | None => Ok(()),
        }
    }

    /// A change that ends sessions.
    fn with_sessions_ended(&self, now: OffsetDateTime) -> Self {
        Self { auth_epoch: self.auth_epoch + 1, ..self.changed(now) }
    }

    /// The change and its event, counted.
    fn changed(&self, now: OffsetDateTime) -> Self {
        Self {
            version: self.version + 1,
            event_version: self.event_version + 1,
            update_time: now,
            ..self.clone()
        }
    }
}

/// A user as those see one who may see everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WholeUser {
    pub(crate) user: User,
    pub(crate) statistics: OrderStatistics,
}

/// How many orders a user has, counted from order service's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OrderStatistics {
    pub(crate) placed_count: i64,
    pub(crate) paid_count: i64,
    pub(crate) cancelled_count: i64,
    /// Placed or received, not handed on, not cancelled.
    pub(crate) owned_count: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> User {
        let email = "ann@example.com".parse().unwrap();
        let id = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        User::sign_up(id, email, "Ann".to_owned(), OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn whatever_ends_sessions_raises_the_epoch_and_both_versions() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::HOUR;
        for changed in [
            ann().deactivated(now).unwrap(),
            ann().with_role(Role::Merchant, now).unwrap(),
            ann().with_new_password(now).unwrap(),
        ] {
            assert_eq!((changed.auth_epoch, changed.version, changed.event_version), (2, 2, 2));
            assert_eq!(changed.update_time, now);
        }
    }

    #[test]
    fn an_update_changes_what_it_names_and_ends_no_session() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::HOUR;
        let username = Username::new("Ann".to_owned()).ok();
        let change = UserChange { username: Some(username.clone()), ..UserChange::default() };
        let named = ann().updated(change, now).unwrap();
        let expected = User { username, version: 2, event_version: 2, update_time: now, ..ann() };
        assert_eq!(named, expected);
        let change = UserChange { display_name: Some("Anna".to_owned()), ..UserChange::default() };
        assert_eq!(named.updated(change, now).unwrap().username, expected.username);
        let change = UserChange { username: Some(None), ..UserChange::default() };
        assert_eq!(named.updated(change, now).unwrap().username, None);
    }

    #[test]
    fn a_deactivated_user_stays_so() {
        let gone = ann().deactivated(OffsetDateTime::UNIX_EPOCH).unwrap();
        assert!(matches!(gone.deactivated(OffsetDateTime::UNIX_EPOCH), Err(UserRefused::Deactivated(_))));
        assert!(matches!(
            gone.with_role(Role::Admin, OffsetDateTime::UNIX_EPOCH),
            Err(UserRefused::Deactivated(_))
        ));
    }

    #[test]
    fn only_who_is_deactivated_is_reactivated_and_no_session_comes_back() {
        let now = OffsetDateTime::UNIX_EPOCH;
        assert!(matches!(ann().reactivated(now), Err(UserRefused::Active(_))));
        let gone = ann().deactivated(now).unwrap();
        let back = gone.reactivated(now).unwrap();
        assert_eq!((back.state, back.auth_epoch, back.version), (UserState::Active, gone.auth_epoch, 3));
        assert!(gone.with_new_password(now).is_err() && gone.with_email(ann().email, now).is_err());
    }

    #[test]
    fn who_is_gone_has_left_nothing_and_is_there_for_no_change() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::HOUR;
        let told = User {
            username: Username::new("Ann".to_owned()).ok(),
            profile: Profile { bio: Some("Tea.".to_owned()), ..Profile::default() },
            last_login_time: Some(now),
            post_count: 3,
            ..ann()
        };
        for present in [told.clone(), told.deactivated(now).unwrap()] {
            let gone = present.deleted(now).unwrap();
            let expected = User {
                email: Email::of_nobody(present.id),
                display_name: String::new(),
                username: None,
                profile: Profile::default(),
                last_login_time: None,
                state: UserState::Deleted,
                auth_epoch: present.auth_epoch + 1,
                version: present.version + 1,
                event_version: present.event_version + 1,
                update_time: now,
                ..present
            };
            assert_eq!(gone, expected);
            let refused = Some(UserRefused::NotFound(gone.id));
            assert_eq!(gone.require_active().err(), refused);
            assert_eq!(gone.deleted(now).err(), refused);
            assert_eq!(gone.reactivated(now).err(), refused);
            assert_eq!(gone.deactivated(now).err(), refused);
            assert_eq!(gone.with_role(Role::Admin, now).err(), refused);
        }
    }

    #[test]
    fn only_the_present_etag_is_good() {
        assert!(ann().require_version(None).is_ok() && ann().require_version(Some(1)).is_ok());
        assert!(matches!(ann().require_version(Some(2)), Err(UserRefused::VersionMismatch(_))));
    }
}
