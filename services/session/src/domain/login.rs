//! How failed logins slow down the next ones.

use std::time::Duration;

/// How failed logins slow down the next ones.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LoginLimits {
    /// Failures from one source that cost nothing.
    pub(crate) free_failures: u32,
    /// Tries from one source at once, as long as its failures cost nothing. After that it is one.
    pub(crate) tries_at_once: u32,
    /// Failures that cost nothing, and tries at once, of all sources together that are not known.
    pub(crate) free_failures_in_all: u32,
    pub(crate) tries_at_once_in_all: u32,
    /// How long a source is known after a successful login, and how many sources of an address are.
    pub(crate) known_life: Duration,
    pub(crate) known_max: u32,
    /// How long a try counts when it is never settled, because its process died.
    pub(crate) try_life: Duration,
    /// The first wait; each further failure doubles it.
    pub(crate) first_wait: Duration,
    pub(crate) longest_wait: Duration,
    /// Failures are forgotten after this time without another one.
    pub(crate) memory: Duration,
    /// The same as long as they cost nothing. Shorter, since anybody can make up addresses, and each takes up a key.
    pub(crate) free_memory: Duration,
}

impl LoginLimits {
    /// Whether they fit together.
    ///
    /// # Errors
    /// The rule that is broken.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        // Else failures would be forgotten during their own wait, and the next guesses would be free again.
        if self.memory < self.longest_wait {
            return Err("failures must be remembered at least as long as the longest wait");
        }
        if self.longest_wait < self.first_wait {
            return Err("the longest wait must not be shorter than the first one");
        }
        if self.free_failures_in_all < self.free_failures {
            return Err("an address must have at least as many free failures in all as from one source");
        }
        if self.tries_at_once == 0 || self.tries_at_once_in_all == 0 || self.known_max == 0 {
            return Err("limits of logins must be above zero");
        }
        Ok(())
    }
}
