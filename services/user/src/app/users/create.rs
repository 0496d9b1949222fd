//! Signing up.

use types::{Answer, Call, Keep};

use super::passwords::Secret;
use crate::app::{App, or_first_answer};
use crate::domain::email::Email;
use crate::domain::password::{Password, PasswordHash};
use crate::domain::user::{OrderStatistics, User, WholeUser};
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Somebody who is to be a user.
#[derive(Debug)]
pub(crate) struct NewUser {
    pub(crate) email: Email,
    pub(crate) display_name: String,
    pub(crate) password: Password,
}

/// Who signs up.
#[derive(Debug)]
pub(crate) struct CreateUser {
    pub(crate) user: NewUser,
    pub(crate) secret: Secret,
}

impl App {
    /// Signs a person up as a customer: nobody chooses a role here.
    pub(crate) async fn create_user(&self, call: &Call, wish: CreateUser) -> Result<Answer<WholeUser>> {
        let CreateUser { user: NewUser { email, display_name, password }, secret } = wish;
        let answer = if let Some(answer) = self.first_answer(call).await? {
            answer
        } else {
            let hash = self.hasher.hash(password.clone()).await?;
            let user = User::sign_up(self.next_id(), email, display_name, self.now());
            let created =
                self.store.transaction("create_user", |tx| self.create_user_in(tx, call, &user, &hash));
            or_first_answer(created.await, || self.first_answer(call)).await?
        };
        // A repeat says the same only if the password is the same.
        self.require_same_password(call, answer, Some(password), secret).await
    }

    async fn create_user_in(
        &self,
        mut tx: Tx,
        call: &Call,
        user: &User,
        hash: &PasswordHash,
    ) -> Result<Finished<Answer<WholeUser>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let now = user.create_time;
        let whole = WholeUser { user: user.clone(), statistics: OrderStatistics::default() };
        tx.request_insert(call, &whole, now, Keep::ThirtyDays)?;
        tx.user_insert(user)?;
        tx.credential_insert(user.id, hash, now)?;
        tx.event_append(&self.user_created(user, Some(call.key.request_id)))?;
        Ok(tx.commit(Answer::first(whole)))
    }
}
