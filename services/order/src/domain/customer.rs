//! What order service knows of a user.

use std::str::FromStr;

use types::{Role, UserId};

/// Why somebody cannot be the customer of an order. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CustomerRefused {
    /// No such user.
    #[error("there is no such user")]
    NotFound(UserId),
    /// The user is deactivated.
    #[error("the user is deactivated")]
    Deactivated(UserId),
}

/// What a user may do at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CustomerState {
    /// May order.
    Active,
    /// May not.
    Deactivated,
    /// Is gone for ever.
    Deleted,
}

impl CustomerState {
    /// Its name in the database.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Deleted => "deleted",
        }
    }

    /// Refuses a user who may not be the customer of an order. Who is gone was never there.
    pub(crate) fn require_active(self, user_id: UserId) -> Result<(), CustomerRefused> {
        match self {
            Self::Active => Ok(()),
            Self::Deactivated => Err(CustomerRefused::Deactivated(user_id)),
            Self::Deleted => Err(CustomerRefused::NotFound(user_id)),
        }
    }
}

impl FromStr for CustomerState {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Active, Self::Deactivated, Self::Deleted];
        all.into_iter()
            .find(|state| state.as_str() == name)
            .ok_or_else(|| format!("{name:?} is no state of a user"))
    }
}

/// A user as the read model has it, or as user service tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Customer {
    pub(crate) user_id: UserId,
    pub(crate) state: CustomerState,
    pub(crate) role: Role,
    /// Counts the user's events: of two descriptions the higher one is the newer.
    pub(crate) version: i64,
}
