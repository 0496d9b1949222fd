//! Which logins may go on to the throttle of their address. All cores of the process share this, and it asks Redis
//! nothing.
//!
//! The check of a password goes on when its caller goes away, so a limit on calls does not limit the checks. This does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::{Failure, RETRY_AFTER, Source};

use crate::domain::{SessionRefused, SourceLimits, Sources};
use crate::error::Result;

/// Lets logins in, or refuses them. Clones share the same counts.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    checks: Arc<Semaphore>,
    sources: Arc<Mutex<Sources>>,
}

/// A login that was let in; kept until its password was checked.
#[derive(Debug)]
pub(crate) struct Admitted {
    _check: OwnedSemaphorePermit,
    source: Source,
    sources: Arc<Mutex<Sources>>,
    was_wrong: bool,
}

impl Admission {
    /// Lets in at most `checks_max` logins at once, and of each source as many as its limits allow.
    pub(crate) fn new(checks_max: usize, limits: SourceLimits) -> Self {
        Self {
            checks: Arc::new(Semaphore::new(checks_max)),
            sources: Arc::new(Mutex::new(Sources::new(limits))),
        }
    }

    /// Lets a login from this source in.
    ///
    /// # Errors
    /// [`SessionRefused::LoginThrottled`] when the source failed too often, [`Failure::Overloaded`] when too many
    /// passwords are being checked.
    pub(crate) fn admit(&self, source: Source) -> Result<Admitted> {
        // The source is asked first, so that one that failed too often takes no place from others.
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
    /// The password was wrong: the source does not get its try back.
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

/// A change of the sources is never half done, so they can still be used after a panic has poisoned the lock.
fn with<T>(sources: &Mutex<Sources>, act: impl FnOnce(&mut Sources) -> T) -> T {
    act(&mut sources.lock().unwrap_or_else(PoisonError::into_inner))
}
