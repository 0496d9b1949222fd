//! The database by the client that is the latest, where one takes the place of another.
//!
//! What is under way goes on with the client that it began with: a session belongs to its client. The old one closes its
//! connections when the last of that is done, so for a moment there are those of both.

use std::sync::{Arc, PoisonError, RwLock};

use mongodb::Database;

/// A database, by the latest client.
#[derive(Debug, Clone)]
pub(super) enum Latest {
    /// The one of all stores that came from one.
    Shared(Arc<RwLock<Database>>),
    /// The one that something began with.
    Kept(Database),
}

impl Latest {
    pub(super) fn new(database: Database) -> Self {
        Self::Shared(Arc::new(RwLock::new(database)))
    }

    pub(super) fn database(&self) -> Database {
        match self {
            // Nothing that holds the lock can panic.
            Self::Shared(shared) => shared.read().unwrap_or_else(PoisonError::into_inner).clone(),
            Self::Kept(database) => database.clone(),
        }
    }

    pub(super) fn kept(&self) -> Self {
        Self::Kept(self.database())
    }

    pub(super) fn replace(&self, database: Database) {
        if let Self::Shared(shared) = self {
            *shared.write().unwrap_or_else(PoisonError::into_inner) = database;
        }
    }
}
