//! The first admin, made by whoever can reach the database and by nobody else.

use super::App;
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::domain::user::{User, UserState};
use crate::error::{Error, Result};
use crate::storage::Tx;
use types::Role;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrapped {
    /// The admin is new.
    Created(types::UserId),
    /// The address is that of an active admin already.
    AlreadyAdmin(types::UserId),
}

impl App {
    /// Makes an admin. Refuses when the address belongs to somebody who is not an active admin: whoever can run
    /// this may make an admin, but not take over a person's account.
    pub(crate) async fn bootstrap_admin(
        &self,
        email: Email,
        display_name: String,
        password: Password,
    ) -> Result<Bootstrapped> {
        let hash = self.hasher.hash(password).await?;
        let admin = User::bootstrap_admin(self.next_id(), email, display_name, self.now());
        self.store
            .transaction("bootstrap_admin", (self, admin, hash), |tx, (app, admin, hash)| {
                Box::pin(async move {
                    if let Some(user) = tx.user_fetch_by_email(admin.email.key()).await? {
                        let is_admin = user.role == Role::Admin && user.state == UserState::Active;
                        return if is_admin {
                            Ok(Bootstrapped::AlreadyAdmin(user.id))
                        } else {
                            Err(Error::EmailTaken)
                        };
                    }
                    app.admin_insert(tx, admin, hash)
                })
            })
            .await
    }

    fn admin_insert(
        &self,
        tx: &mut Tx,
        admin: &User,
        hash: &crate::domain::password::PasswordHash,
    ) -> Result<Bootstrapped> {
        tx.user_insert(admin)?;
        tx.credential_insert(admin.id, hash, admin.create_time)?;
        tx.event_append(&self.user_created(admin, None))?;
        Ok(Bootstrapped::Created(admin.id))
    }
}
