//! An address that may change while the process runs.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::RedisError;
use secrecy::ExposeSecret as _;
use types::DatabaseUrl;

use crate::Address;

/// The address of a Redis, whose login and authorities may be renewed: it is read again for each new connection. Cheap to
/// clone; the clones are one.
#[derive(Clone, Debug)]
pub struct CurrentAddress {
    url: DatabaseUrl,
    last: Arc<Mutex<Address>>,
}

impl CurrentAddress {
    /// What [`Address::of`] reads of this URL.
    ///
    /// # Errors
    /// As those of [`Address::of`].
    pub fn of(url: DatabaseUrl) -> Result<Self, RedisError> {
        let address = Address::of(url.now().expose_secret())?;
        Ok(Self { url, last: Arc::new(Mutex::new(address)) })
    }

    /// What it is now. When its authorities cannot be read, a warning says so, and it is what it was.
    #[must_use]
    pub fn now(&self) -> Address {
        self.settle(Address::of(self.url.now().expose_secret()))
    }

    /// As [`CurrentAddress::now`], for those who must not wait for files.
    pub async fn latest(&self) -> Address {
        let url = self.url.latest().await;
        let read = tokio::task::spawn_blocking(move || Address::of(url.expose_secret())).await;
        self.settle(read.unwrap_or_else(|failed| Err(io::Error::from(failed).into())))
    }

    fn settle(&self, read: Result<Address, RedisError>) -> Address {
        let mut last = self.last();
        match read {
            Ok(address) => *last = address,
            Err(error) => {
                let servers = last.servers();
                tracing::warn!(?servers, %error, "the address of a Redis cannot be read again; the last one is used");
            }
        }
        last.clone()
    }

    fn last(&self) -> MutexGuard<'_, Address> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
