//! The first admin, made by whoever can reach the database and by nobody else.

use types::{Role, UserId};

use super::create::NewUser;
use crate::app::App;
use crate::domain::password::PasswordHash;
use crate::domain::user::{User, UserRefused, UserState};
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrapped {
    /// The admin is new.
    Created(UserId),
    /// The address is that of an active admin already.
    AlreadyAdmin(UserId),
}

impl App {
    /// Makes an admin. Refuses when the address belongs to somebody who is not an active admin: whoever can run
    /// this may make an admin, but not take over a person's account.
    pub(crate) async fn bootstrap_admin(&self, admin: NewUser) -> Result<Bootstrapped> {
        let NewUser { email, display_name, password } = admin;
        let hash = self.hasher.hash(password).await?;
        let admin = User::bootstrap_admin(self.next_id(), email, display_name, self.now());
        self.store.transaction("bootstrap_admin", |tx| self.bootstrap_admin_in(tx, &admin, &hash)).await
    }

    async fn bootstrap_admin_in(
        &self,
        mut tx: Tx,
        admin: &User,
        hash: &PasswordHash,
    ) -> Result<Finished<Bootstrapped>> {
        if let Some(user) = tx.user_fetch_by_email(admin.email.key()).await? {
            if user.role == Role::Admin && user.state == UserState::Active {
                return Ok(tx.abandon(Bootstrapped::AlreadyAdmin(user.id)));
            }
            return Err(UserRefused::EmailTaken.into());
        }
        tx.user_insert(admin)?;
        tx.credential_insert(admin.id, hash, admin.create_time)?;
        tx.event_append(&self.user_created(admin, None))?;
        Ok(tx.commit(Bootstrapped::Created(admin.id)))
    }
}
