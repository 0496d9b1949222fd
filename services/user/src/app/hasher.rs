//! Hashing passwords: on the blocking pool, as many at once as there are cores, behind a bounded queue. A hundred
//! unbounded logins would take two gigabytes and every thread.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use uuid::Uuid;

use crate::config::PasswordConfig;
use crate::domain::password::{Password, PasswordHash};
use crate::error::{Error, Result};

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One for all cores of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Hasher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    argon2: Argon2<'static>,
    /// What an unknown user's password is compared with: as much work as any other.
    nobody: PasswordHash,
    /// Who may wait.
    admitted: Arc<Semaphore>,
    /// How many of them may be new passwords: half, so that no flood of sign-ups refuses a login.
    new_passwords: Arc<Semaphore>,
    /// Who may compute.
    cores: Arc<Semaphore>,
}

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether it is the password.
    pub(crate) is_match: bool,
    /// Whether the hash was made with other parameters than a new one would be.
    pub(crate) is_outdated: bool,
}

impl Hasher {
    /// A hasher with these parameters. Computes one hash.
    ///
    /// # Errors
    /// When Argon2 does not take the parameters, or the system gives no random bytes.
    pub(crate) fn new(config: PasswordConfig) -> Result<Self> {
        let params = Params::new(config.memory_kib, config.passes, config.lanes, None).map_err(broken)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = compute(&argon2, Uuid::new_v4().as_bytes())?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self(Arc::new(Inner {
            argon2,
            nobody,
            admitted: Arc::new(Semaphore::new(cores + config.queue)),
            new_passwords: Arc::new(Semaphore::new((cores + config.queue).div_ceil(2))),
            cores: Arc::new(Semaphore::new(cores)),
        })))
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: Password) -> Result<PasswordHash> {
        let inner = Arc::clone(&self.0);
        let place = Arc::clone(&inner.new_passwords).try_acquire_owned().map_err(full)?;
        self.compute(move || {
            let hash = compute(&inner.argon2, password.expose());
            drop(place);
            hash
        })
        .await
    }

    /// Compares a password with a hash; without one, with that of nobody, which nothing matches.
    pub(crate) async fn verify(&self, password: Password, hash: Option<PasswordHash>) -> Result<Verdict> {
        let inner = Arc::clone(&self.0);
        self.compute(move || {
            let is_known = hash.is_some();
            let hash = hash.as_ref().unwrap_or(&inner.nobody);
            let phc = Phc::new(hash.as_phc()).map_err(broken)?;
            let is_equal = match inner.argon2.verify_password(password.expose(), &phc) {
                Ok(()) => true,
                Err(argon2::password_hash::Error::PasswordInvalid) => false,
                Err(error) => return Err(broken(error)),
            };
            let params = Params::try_from(&phc).map_err(broken)?;
            let is_outdated = params.m_cost() != inner.argon2.params().m_cost()
                || params.t_cost() != inner.argon2.params().t_cost()
                || params.p_cost() != inner.argon2.params().p_cost();
            Ok(Verdict { is_match: is_known && is_equal, is_outdated })
        })
        .await
    }

    /// Waits for a core. A caller that goes away leaves the queue; a computation that has begun ends by itself
    /// and keeps its place until then.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let admitted = Arc::clone(&self.0.admitted).try_acquire_owned().map_err(full)?;
        let core = Arc::clone(&self.0.cores).acquire_owned().await.map_err(Error::internal)?;
        let places: (OwnedSemaphorePermit, OwnedSemaphorePermit) = (admitted, core);
        let computed = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(places);
            result
        });
        computed.await.map_err(Error::internal)?
    }
}

fn compute(argon2: &Argon2<'static>, password: &[u8]) -> Result<PasswordHash> {
    let hash: Phc = argon2.hash_password(password).map_err(broken)?;
    Ok(PasswordHash::from_phc(hash.to_string()))
}

fn full(_: TryAcquireError) -> Error {
    Error::Overloaded { retry_after: RETRY_AFTER }
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("Argon2: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: PasswordConfig = PasswordConfig { memory_kib: 64, passes: 1, lanes: 1, queue: 0 };

    fn password(text: &str) -> Password {
        Password::new(text.to_owned(), "ann@example.com").unwrap()
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let hasher = Hasher::new(CHEAP).unwrap();
        let hash = hasher.hash(password("an evening in the garden")).await.unwrap();
        assert!(hash.as_phc().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        let verdict = async |text| hasher.verify(password(text), Some(hash.clone())).await.unwrap();
        assert_eq!(verdict("an evening in the garden").await, Verdict { is_match: true, is_outdated: false });
        assert!(!verdict("an evening in the Garden").await.is_match);
    }

    #[tokio::test]
    async fn passwords_are_not_cut_at_72_bytes() {
        let hasher = Hasher::new(CHEAP).unwrap();
        let long = |end| password(&format!("{}{end}", "abcdefgh".repeat(9)));
        let hash = hasher.hash(long("one")).await.unwrap();
        assert!(!hasher.verify(long("two"), Some(hash)).await.unwrap().is_match);
    }

    #[tokio::test]
    async fn a_hash_of_other_parameters_still_verifies_and_is_outdated() {
        let hash = Hasher::new(CHEAP).unwrap().hash(password("an evening in the garden")).await.unwrap();
        let stronger = Hasher::new(PasswordConfig { passes: 2, ..CHEAP }).unwrap();
        let verdict = stronger.verify(password("an evening in the garden"), Some(hash)).await.unwrap();
        assert_eq!(verdict, Verdict { is_match: true, is_outdated: true });
    }

    #[tokio::test]
    async fn nobody_has_a_password() {
        let hasher = Hasher::new(CHEAP).unwrap();
        assert!(!hasher.verify(password("an evening in the garden"), None).await.unwrap().is_match);
    }

    #[tokio::test]
    async fn sign_ups_leave_room_for_logins() {
        let hasher = Hasher::new(PasswordConfig { queue: 8, ..CHEAP }).unwrap();
        let places = u32::try_from(hasher.0.new_passwords.available_permits()).unwrap();
        let _flood = Arc::clone(&hasher.0.new_passwords).acquire_many_owned(places).await;
        let _their_places = Arc::clone(&hasher.0.admitted).acquire_many_owned(places).await;
        let refused = hasher.hash(password("an evening in the garden")).await;
        assert!(matches!(refused, Err(Error::Overloaded { .. })), "{refused:?}");
        let login = hasher.verify(password("an evening in the garden"), None).await;
        assert!(login.is_ok(), "{login:?}");
    }

    #[tokio::test]
    async fn whoever_finds_the_queue_full_is_told_so_at_once() {
        let hasher = Hasher::new(CHEAP).unwrap();
        let places = Arc::clone(&hasher.0.admitted);
        let _all =
            places.acquire_many_owned(u32::try_from(hasher.0.admitted.available_permits()).unwrap()).await;
        let refused = hasher.hash(password("an evening in the garden")).await;
        assert!(matches!(refused, Err(Error::Overloaded { .. })), "{refused:?}");
    }
}
