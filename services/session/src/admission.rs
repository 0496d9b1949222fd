//! Which logins get as far as their address' throttle: shared by all cores of the process, and no question to Redis.
//!
//! A check goes on when its caller does not wait any more, so calls do not bound how many there are. This does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::{Failure, RETRY_AFTER, Source};

use crate::domain::{SessionRefused, SourceLimits, Sources};
use crate::error::Result;

/// What lets logins in. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    checks: Arc<Semaphore>,
    sources: Arc<Mutex<Sources>>,
}

/// A login that was let in, until its password was checked.
#[derive(Debug)]
pub(crate) struct Admitted {
    _check: OwnedSemaphorePermit,
    source: Source,
    sources: Arc<Mutex<Sources>>,
    was_wrong: bool,
}

impl Admission {
    /// Lets so many in at once.
    pub(crate) fn new(checks_max: usize, limits: SourceLimits) -> Self {
        Self {
            checks: Arc::new(Semaphore::new(checks_max)),
            sources: Arc::new(Mutex::new(Sources::new(limits))),
        }
    }

    /// Lets a login from this source in.
    ///
    /// # Errors
    /// [`SessionRefused::LoginThrottled`] when the source failed too often, [`Failure::Overloaded`] when too many passwords are
    /// being checked.
    pub(crate) fn admit(&self, source: Source) -> Result<Admitted> {
        // First the source: one that failed too often takes no place from others.
        let taken = with(&self.sources, |sources| sources.take(source, Instant::now()));
        taken.map_err(|retry_after| SessionRefused::LoginThrottled { retry_after })?;
        match Arc::clone(&self.checks).try_acquire_owned() {
            Ok(check) => {
                let sources = Arc::clone(&self.sources);
                Ok(Admitted { _check: check, source, sources, was_wrong: false })
            }
            Err(_) => {
                with(&self.sources, |sources| sources.give_back(source, Instant::now()));
                Err(Failure::Overloaded { what: "passwords", retry_after: RETRY_AFTER }.into())
            }
        }
    }
}

impl Admitted {
    /// Its password was wrong.
    pub(crate) fn failed(mut self) {
        self.was_wrong = true;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.was_wrong {
            with(&self.sources, |sources| sources.give_back(self.source, Instant::now()));
        }
    }
}

/// Nothing in there can be half done, so a panic elsewhere leaves it whole.
fn with<T>(sources: &Mutex<Sources>, act: impl FnOnce(&mut Sources) -> T) -> T {
    act(&mut sources.lock().unwrap_or_else(PoisonError::into_inner))
}
