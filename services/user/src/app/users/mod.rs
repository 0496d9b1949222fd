//! Users: one file for each use case that changes something; reading them is in `read.rs`, `list.rs`, `search.rs` and
//! `stream.rs`.

mod answer;
mod bootstrap;
mod change_email;
mod change_password;
mod change_role;
mod changes;
mod create;
mod deactivate;
mod delete;
mod erase;
mod list;
mod passwords;
mod reactivate;
mod read;
mod reset_password;
mod search;
mod stream;
mod update;
mod verify_password;

use events::Head;

pub use bootstrap::Bootstrapped;
pub(crate) use change_email::ChangeEmail;
pub(crate) use change_password::ChangePassword;
pub(crate) use change_role::ChangeUserRole;
pub(crate) use changes::{ListUserChanges, UserChanges};
pub(crate) use create::{CreateUser, NewUser};
pub(crate) use deactivate::DeactivateUser;
pub(crate) use delete::DeleteUser;
pub(crate) use list::{ListUsers, PageStart, UserPage};
pub(crate) use reactivate::ReactivateUser;
pub(crate) use reset_password::ResetPassword;
pub(crate) use search::{FoundPage, SearchUsers};
pub(crate) use stream::{StreamUsers, UserBatch};
pub(crate) use update::UpdateUser;
pub(crate) use verify_password::VerifyPassword;

use super::App;
use crate::error::{Error, Result};
use crate::storage::STREAM;

impl App {
    /// Where this service's stream stands: what a snapshot is taken after.
    pub(crate) async fn snapshot_head(&self) -> Result<Head> {
        let head = self.store.stream_head(STREAM).await?;
        head.ok_or_else(|| Error::internal("the stream was not made: the schema is not migrated"))
    }
}
