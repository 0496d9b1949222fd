//! The use cases, by noun: a file for each noun, or a folder where it has several that change something.
//!
//! A call that changes something has a [`types::Call`]; repeated, it gives the first [`types::Answer`] again. Everything
//! is checked in the same order: what became of the request id, then whose the thing is, then its state.

pub(crate) mod accounts;
mod customers;
mod events;
mod known_offers;
pub(crate) mod orders;
pub(crate) mod products;
pub(crate) mod transfers;

use std::sync::Arc;

use time::OffsetDateTime;
use types::{Clock, IdSource};

use crate::clients::{Users, Wallets};
use crate::storage::Store;
use crate::transfers::Coordinator;
use known_offers::KnownOffers;

/// The use cases with all that they need. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    users: Users,
    wallets: Wallets,
    transfers: Coordinator,
    known_offers: KnownOffers,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl App {
    /// The use cases on this database, asking this user service.
    #[must_use]
    pub(crate) fn new(
        store: Store,
        (users, wallets): (Users, Wallets),
        transfers: Coordinator,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        Self { store, users, wallets, transfers, known_offers: KnownOffers::default(), clock, ids }
    }

    /// The present time as PostgreSQL can keep it: an answer is the same when it is rebuilt from there.
    pub(crate) fn now(&self) -> OffsetDateTime {
        let now = self.clock.now();
        now.replace_microsecond(now.microsecond()).unwrap_or(now)
    }

    pub(crate) fn new_id<T: From<uuid::Uuid>>(&self) -> T {
        self.ids.next().into()
    }
}
