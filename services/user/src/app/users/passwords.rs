//! What the calls have in common that ask for a password, or give another one.

use types::{Answer, Call, Failure, UserId, Violation};

use crate::app::App;
use crate::domain::password::{Password, PasswordError, PasswordHash};
use crate::domain::user::{User, UserRefused, WholeUser};
use crate::error::{Error, Result};
use crate::storage::Outcome;

/// How often a password is compared for one call. Once more each time that the hash was replaced meanwhile: by a login
/// that brought it up to date, or by another password.
pub(super) const COMPARED_MOST: usize = 3;

/// The numbers of the request's fields that its fingerprint leaves out: people choose passwords, and a hash of one can be
/// guessed. A repeat's password is compared with the stored hash instead.
pub(crate) type Secret = &'static [u32];

impl App {
    /// The hash of a user's password, if this is the password. `None` stands for what nobody has as one.
    pub(super) async fn present_hash(
        &self,
        user: UserId,
        password: Option<&Password>,
    ) -> Result<PasswordHash> {
        let password = password.ok_or(UserRefused::InvalidCredentials)?;
        let hash = self.store.credential_fetch(user).await?;
        let verdict = self.hasher.verify(password.clone(), hash.clone()).await?;
        Ok(hash.filter(|_| verdict.is_match).ok_or(UserRefused::InvalidCredentials)?)
    }

    /// The answer, unless it is a repeat's that has another password than the first call had.
    pub(super) async fn require_same_password(
        &self,
        call: &Call,
        answer: Answer<WholeUser>,
        password: Option<Password>,
        secret: Secret,
    ) -> Result<Answer<WholeUser>> {
        if answer.is_replay && !self.has_password(&answer.value.user, password).await? {
            return Err(Failure::RequestIdReused { method: call.key.method, fields: secret.to_vec() }.into());
        }
        Ok(answer)
    }

    async fn has_password(&self, user: &User, password: Option<Password>) -> Result<bool> {
        let Some(password) = password else { return Ok(false) };
        let hash = self.store.credential_fetch(user.id).await?;
        Ok(self.hasher.verify(password, hash).await?.is_match)
    }

    /// The first answer, as a transaction gives it that may have to compare the password again.
    pub(super) async fn first_outcome<T: Outcome>(&self, call: &Call) -> Result<Option<Option<Answer<T>>>> {
        Ok(self.first_answer(call).await?.map(Some))
    }
}

/// The password was replaced again and again while it was compared.
pub(super) fn replaced_too_often() -> Error {
    Error::contention("the hash of the password was replaced while it was compared")
}

/// Refuses a new password that is its owner's address, which the request does not say.
pub(super) fn require_not_address(password: &Password, user: &User) -> Result<()> {
    let Err(error) = password.require_not_address(&user.email) else { return Ok(()) };
    let PasswordError::Weak(description) = error else { return Err(Error::internal(format!("{error:?}"))) };
    let (field, description) = ("new_password".to_owned(), description.to_owned());
    Err(Failure::Invalid(vec![Violation { field, reason: "WEAK_PASSWORD", description }]).into())
}
