//! Hashing passwords: on the blocking pool, as many at once as there are cores, behind a bounded queue. A hundred
//! unbounded logins would take two gigabytes and every thread.
//!
//! The memory of a hash is kept for the next one, in `memory.rs`.

use std::num::NonZero;
use std::sync::Arc;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash as Phc, Salt};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio_util::sync::CancellationToken;
use types::{Failure, RETRY_AFTER};
use uuid::Uuid;

use super::memory::Memory;
use crate::config::PasswordConfig;
use crate::domain::password::{Password, PasswordHash};
use crate::error::{Error, Result};

/// KiB and passes with one lane, as OWASP's password storage cheat sheet gives them: each about as hard as the others.
const OWASP: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];

/// One for all cores of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Hasher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    params: Params,
    memory: Memory,
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
    /// Whether the hash was made with lower parameters than a new one would be, and with no higher one.
    pub(crate) is_outdated: bool,
}

impl Hasher {
    /// A hasher with these parameters. Computes one hash.
    ///
    /// # Errors
    /// When Argon2 does not take the parameters, or the system gives no random bytes.
    pub(crate) fn new(config: PasswordConfig) -> Result<Self> {
        let params = Params::new(config.memory_kib, config.passes, config.lanes, None).map_err(broken)?;
        // Of its own: an idle service keeps none.
        let nobody = hash(&Memory::default(), &params, Uuid::new_v4().as_bytes())?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self(Arc::new(Inner {
            params,
            memory: Memory::default(),
            nobody,
            admitted: Arc::new(Semaphore::new(cores + config.queue)),
            new_passwords: Arc::new(Semaphore::new((cores + config.queue).div_ceil(2))),
            cores: Arc::new(Semaphore::new(cores)),
        })))
    }

    /// Whether a hash takes less work than OWASP advises at the least, whichever of its parameters are compared.
    pub(crate) fn is_weak(&self) -> bool {
        let params = &self.0.params;
        OWASP.iter().all(|(memory_kib, passes)| params.m_cost() < *memory_kib || params.t_cost() < *passes)
    }

    /// Gives the memory of hashes back whenever no password has come for a while, until `stop` is cancelled.
    pub(crate) async fn give_back_memory(self, stop: CancellationToken) {
        let _stopped = stop.run_until_cancelled(self.0.memory.give_back_when_idle()).await;
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: Password) -> Result<PasswordHash> {
        let inner = Arc::clone(&self.0);
        let place = Arc::clone(&inner.new_passwords).try_acquire_owned().map_err(full)?;
        self.compute(move || {
            let hash = hash(&inner.memory, &inner.params, password.expose());
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
            let params = Params::try_from(&phc).map_err(broken)?;
            let is_equal = matches(&inner.memory, &params, &phc, password.expose())?;
            let is_outdated = is_lower(&params, &inner.params);
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

/// Whether one of the parameters is lower and none is higher: a hash that was made while they were higher is not made
/// weaker because somebody logs in.
fn is_lower(params: &Params, than: &Params) -> bool {
    let pairs = [
        (params.m_cost(), than.m_cost()),
        (params.t_cost(), than.t_cost()),
        (params.p_cost(), than.p_cost()),
    ];
    pairs.iter().any(|(one, other)| one < other) && pairs.iter().all(|(one, other)| one <= other)
}

const ALGORITHM: Algorithm = Algorithm::Argon2id;
const VERSION: Version = Version::V0x13;

fn hash(memory: &Memory, params: &Params, password: &[u8]) -> Result<PasswordHash> {
    let salt = Salt::generate();
    let hash = compute(memory, &Argon2::new(ALGORITHM, VERSION, params.clone()), password, &salt)?;
    let phc = Phc {
        algorithm: ALGORITHM.ident(),
        version: Some(VERSION.into()),
        params: ParamsString::try_from(params).map_err(broken)?,
        salt: Some(salt),
        hash: Some(hash),
    };
    Ok(PasswordHash::from_phc(phc.to_string()))
}

/// Whether it is the password that was hashed, in the same time whatever the difference.
fn matches(memory: &Memory, params: &Params, phc: &Phc, password: &[u8]) -> Result<bool> {
    let (Some(salt), Some(expected)) = (&phc.salt, &phc.hash) else {
        return Err(broken("a hash without its salt"));
    };
    let algorithm = Algorithm::try_from(phc.algorithm.as_str()).map_err(broken)?;
    let version = phc.version.map_or(Ok(VERSION), Version::try_from).map_err(broken)?;
    let hash = compute(memory, &Argon2::new(algorithm, version, params.clone()), password, salt)?;
    // `Output` compares in constant time.
    Ok(hash == *expected)
}

fn compute(memory: &Memory, argon2: &Argon2<'_>, password: &[u8], salt: &[u8]) -> Result<Output> {
    let mut buffer = [0; Output::MAX_LENGTH];
    let length = argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let out = buffer.get_mut(..length).ok_or_else(|| broken("the hash is too long"))?;
    let blocks = argon2.params().block_count();
    memory
        .lend(blocks, |memory| argon2.hash_password_into_with_memory(password, salt, out, memory))
        .map_err(broken)?;
    Output::new(out).map_err(broken)
}

fn full(_: TryAcquireError) -> Error {
    Failure::Overloaded { what: "passwords", retry_after: RETRY_AFTER }.into()
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

    #[test]
    fn what_other_programs_hashed_matches() {
        let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let phc = Phc::new(hash).unwrap();
        let params = Params::try_from(&phc).unwrap();
        let matches = |password: &[u8]| matches(&Memory::default(), &params, &phc, password).unwrap();
        assert!(matches(b"password") && !matches(b"Password"));
    }

    #[tokio::test]
    async fn passwords_are_not_cut_at_72_bytes() {
        let hasher = Hasher::new(CHEAP).unwrap();
        let long = |end| password(&format!("{}{end}", "abcdefgh".repeat(9)));
        let hash = hasher.hash(long("one")).await.unwrap();
        assert!(!hasher.verify(long("two"), Some(hash)).await.unwrap().is_match);
    }

    #[tokio::test]
    async fn a_hash_of_other_parameters_still_verifies_and_is_outdated_if_none_of_them_is_higher() {
        let present = PasswordConfig { memory_kib: 128, passes: 2, ..CHEAP };
        let hasher = Hasher::new(present).unwrap();
        for (memory_kib, passes, is_outdated) in
            [(128, 2, false), (64, 2, true), (128, 1, true), (64, 1, true), (256, 2, false), (256, 1, false)]
        {
            let made = Hasher::new(PasswordConfig { memory_kib, passes, ..present }).unwrap();
            let hash = made.hash(password("an evening in the garden")).await.unwrap();
            let verdict = hasher.verify(password("an evening in the garden"), Some(hash)).await.unwrap();
            assert_eq!(verdict, Verdict { is_match: true, is_outdated }, "{memory_kib} KiB, {passes} passes");
        }
    }

    #[test]
    fn parameters_are_weak_that_are_below_each_of_those_that_owasp_advises() {
        for (memory_kib, passes, is_weak) in [
            (19_456, 2, false),
            (7_168, 5, false),
            (65_536, 1, false),
            (19_455, 2, true),
            (12_288, 2, true),
            (47_103, 1, true),
            (47_104, 1, false),
            (7_167, 9, true),
        ] {
            let config = PasswordConfig { memory_kib, passes, ..CHEAP };
            let is = Hasher::new(config).unwrap().is_weak();
            assert_eq!(is, is_weak, "{memory_kib} KiB, {passes} passes");
        }
    }

    /// Claim: logins one after the other, on whatever threads, take the memory of one.
    #[tokio::test]
    async fn the_memory_of_a_hash_is_used_again() {
        let hasher = Hasher::new(CHEAP).unwrap();
        assert_eq!(hasher.0.memory.kept(), [0; 0], "a service that nobody logs in to has none");
        for _ in 0..3 {
            let hash = hasher.hash(password("an evening in the garden")).await.unwrap();
            assert!(hasher.verify(password("an evening in the garden"), Some(hash)).await.unwrap().is_match);
        }
        assert_eq!(hasher.0.memory.kept(), [64]);
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
        assert!(matches!(refused, Err(Error::Failure(Failure::Overloaded { .. }))), "{refused:?}");
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
        assert!(matches!(refused, Err(Error::Failure(Failure::Overloaded { .. }))), "{refused:?}");
    }
}
