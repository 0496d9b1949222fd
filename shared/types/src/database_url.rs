//! The address of a database, whose login may be renewed while the process runs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};

type Read = Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

/// The address of a database with its login. Whoever opens a connection asks for it anew, since the login may have been
/// renewed since the last one. Cheap to clone; the clones are one.
#[derive(Clone)]
pub struct DatabaseUrl(Arc<Inner>);

struct Inner {
    /// Where it leads, for messages.
    place: String,
    last: Mutex<SecretString>,
    /// Reads it again; `None` where it cannot change.
    read: Option<Read>,
}

impl DatabaseUrl {
    /// An address that was `first`, and that `read` reads again. What `read` refuses is not used; it says why in words that
    /// show no login. `place` says where the address leads, without a login.
    #[must_use]
    pub fn renewed(
        place: String,
        first: SecretString,
        read: impl Fn() -> Result<SecretString, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner { place, last: Mutex::new(first), read: Some(Arc::new(read)) }))
    }

    /// What it is now. When it cannot be read, or not be used, a warning says so, and it is what it was.
    #[must_use]
    pub fn now(&self) -> SecretString {
        match &self.0.read {
            None => self.last().clone(),
            Some(read) => self.settle(read()),
        }
    }

    /// As [`DatabaseUrl::now`], for those who must not wait for a file.
    pub async fn latest(&self) -> SecretString {
        let Some(read) = self.0.read.clone() else { return self.last().clone() };
        let read = tokio::task::spawn_blocking(move || read()).await;
        self.settle(read.unwrap_or_else(|failed| Err(failed.to_string())))
    }

    fn settle(&self, read: Result<SecretString, String>) -> SecretString {
        let database = &self.0.place;
        let mut last = self.last();
        match read {
            Ok(url) => {
                if url.expose_secret() != last.expose_secret() {
                    tracing::info!(database, "the login of a database was renewed");
                }
                *last = url;
            }
            Err(reason) => {
                tracing::warn!(
                    database,
                    reason,
                    "the address of a database cannot be read again; the last one is used"
                );
            }
        }
        last.clone()
    }

    fn last(&self) -> MutexGuard<'_, SecretString> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<String> for DatabaseUrl {
    /// An address that cannot change.
    fn from(url: String) -> Self {
        Self(Arc::new(Inner { place: String::new(), last: Mutex::new(url.into()), read: None }))
    }
}

impl From<&str> for DatabaseUrl {
    /// An address that cannot change.
    fn from(url: &str) -> Self {
        Self::from(url.to_owned())
    }
}

/// Without the address, since it holds a password.
impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl")
    }
}
