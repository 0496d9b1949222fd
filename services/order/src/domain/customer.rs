//! What order service knows of a user.

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

/// A user as the read model has it, or as user service tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Customer {
    pub(crate) user_id: UserId,
    pub(crate) is_active: bool,
    pub(crate) role: Role,
    /// Counts the user's events: of two descriptions the higher one is the newer.
    pub(crate) version: i64,
}
