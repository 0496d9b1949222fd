//! Lists of users: whom they have, and in which order.

use time::OffsetDateTime;
use types::{Role, UserId};

use super::user::UserState;
use super::user_view::UserView;

/// Times from one on and before another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TimeRange {
    pub(crate) start: Option<OffsetDateTime>,
    pub(crate) end: Option<OffsetDateTime>,
}

/// Whom a list has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserFilter {
    /// Never empty, each once.
    pub(crate) roles: Vec<Role>,
    pub(crate) state: UserState,
    pub(crate) created: TimeRange,
    /// Who has never logged in did so before any time.
    pub(crate) logged_in: TimeRange,
}

/// In which order; those whom it leaves together are in the order of their ids, downwards where it goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserOrder {
    /// Who signed up last comes first.
    CreateTimeDesc,
    /// Who signed up first comes first.
    CreateTimeAsc,
    /// By the folded name.
    DisplayName,
    /// Who logged in last comes first, and who never did comes last.
    LastLoginTime,
}

/// By what a user stands where they do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlaceKey {
    /// They have nothing to be ordered by: no login yet, or a name that is not folded yet.
    Nothing,
    Time(OffsetDateTime),
    Name(String),
}

/// Where a user stands in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserPlace {
    pub(crate) key: PlaceKey,
    pub(crate) id: UserId,
}

/// A list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserList {
    pub(crate) filter: UserFilter,
    pub(crate) order: UserOrder,
}

/// How many users a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TotalSize {
    pub(crate) count: u32,
    /// There may be more.
    pub(crate) is_minimum: bool,
}

/// Users of a list, with where each stands.
pub(crate) type Placed = Vec<(UserPlace, UserView)>;

impl UserOrder {
    /// Whether users can stand there.
    pub(crate) fn has(self, key: &PlaceKey) -> bool {
        match self {
            Self::CreateTimeDesc | Self::CreateTimeAsc => matches!(key, PlaceKey::Time(_)),
            Self::DisplayName => matches!(key, PlaceKey::Name(_) | PlaceKey::Nothing),
            Self::LastLoginTime => matches!(key, PlaceKey::Time(_) | PlaceKey::Nothing),
        }
    }
}
