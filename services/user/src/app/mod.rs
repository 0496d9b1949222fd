//! What can be asked of this service: one file for each use case that changes something, `queries.rs` for the
//! rest. Callers come authenticated; whether an object is theirs is decided here.

mod bootstrap_admin;
mod change_user_role;
mod create_post;
mod create_user;
mod credit;
mod deactivate_user;
mod events;
mod grant_credit;
mod hasher;
mod memory;
mod queries;
mod send_credit;
mod statistics;
mod statistics_snapshot;
mod transfer_post;
mod verify_password;
mod wallet_queries;

use std::sync::Arc;

use time::OffsetDateTime;
use types::{Clock, Fingerprint, IdSource, RequestKey};

pub use bootstrap_admin::Bootstrapped;
pub(crate) use change_user_role::ChangeUserRole;
pub(crate) use create_post::CreatePost;
pub(crate) use create_user::{CreateUser, PASSWORD_FIELD};
pub(crate) use deactivate_user::DeactivateUser;
pub(crate) use grant_credit::GrantCredit;
pub(crate) use hasher::Hasher;
pub(crate) use send_credit::SendCredit;
pub(crate) use statistics::{CONSUMER as STATISTICS_CONSUMER, Statistics};
pub(crate) use statistics_snapshot::StatisticsSnapshot;
pub(crate) use transfer_post::TransferPost;
pub(crate) use wallet_queries::WalletView;

use crate::error::{Error, Result};
use crate::storage::{Outcome, Store};

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    hasher: Hasher,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl App {
    /// The use cases over a database.
    pub(crate) fn new(store: Store, hasher: Hasher, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { store, hasher, clock, ids }
    }

    /// The time, as exact as a row keeps it: the first answer shows what every later read does.
    pub(crate) fn now(&self) -> OffsetDateTime {
        let now = self.clock.now();
        now.replace_millisecond(now.millisecond()).unwrap_or(now)
    }

    /// What a call under a request id comes to whose tries are used up by conflicts: another call with the id may
    /// have got through meanwhile, and then its answer is this one's as well. Else that call may still be at it, so
    /// nobody can say that nothing changes.
    async fn or_first_answer<T>(
        &self,
        outcome: Result<Answer<T>>,
        Idempotency { key, fingerprint }: &Idempotency,
        read: fn(Outcome) -> Result<T>,
    ) -> Result<Answer<T>> {
        let Err(Error::Contention) = outcome else { return outcome };
        let saved = self.store.request_fetch(key).await?.ok_or(Error::RequestInProgress)?;
        saved.replay(key, fingerprint).and_then(read).map(Answer::again)
    }

    /// A new id.
    pub(crate) fn next_id<T: From<uuid::Uuid>>(&self) -> T {
        self.ids.next().into()
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("store", &self.store).finish_non_exhaustive()
    }
}

/// What makes a changing call repeatable.
#[derive(Debug, Clone)]
pub(crate) struct Idempotency {
    /// Names the intent.
    pub(crate) key: RequestKey,
    /// What the call says.
    pub(crate) fingerprint: Fingerprint,
}

/// An answer, and whether it was given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    pub(crate) is_replay: bool,
}

impl<T> Answer<T> {
    /// The answer of a call that did it.
    pub(crate) fn first(value: T) -> Self {
        Self { value, is_replay: false }
    }

    /// The answer of the call that did it, given again.
    pub(crate) fn again(value: T) -> Self {
        Self { value, is_replay: true }
    }
}
