//! What order service knows of a user.

use types::{Role, UserId};

/// A user as the read model has it, or as user service tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Customer {
    pub(crate) user_id: UserId,
    pub(crate) is_active: bool,
    pub(crate) role: Role,
    /// Counts the user's events: of two descriptions the higher one is the newer.
    pub(crate) version: i64,
}
