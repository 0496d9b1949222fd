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
use types::{Answer, Call, Clock, Failure, IdSource};

pub use bootstrap_admin::Bootstrapped;
pub(crate) use change_user_role::ChangeUserRole;
pub(crate) use create_post::CreatePost;
pub(crate) use create_user::{CreateUser, NewUser};
pub(crate) use deactivate_user::DeactivateUser;
pub(crate) use grant_credit::GrantCredit;
pub(crate) use hasher::Hasher;
pub(crate) use send_credit::SendCredit;
pub(crate) use statistics::{CONSUMER as STATISTICS_CONSUMER, Statistics};
pub(crate) use statistics_snapshot::StatisticsSnapshot;
pub(crate) use transfer_post::TransferPost;
pub(crate) use verify_password::VerifyPassword;
pub(crate) use wallet_queries::ListWalletEntries;

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

    /// What a request id was answered first.
    async fn first_answer<T: Outcome>(&self, call: &Call) -> Result<Option<Answer<T>>> {
        let saved = self.store.request_fetch(&call.key).await?;
        saved.map(|saved| saved.replay(call)).transpose()
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

/// What a call under a request id comes to whose tries are used up by conflicts: another call with the id may have got
/// through meanwhile, and then its answer is this one's as well. Else that call may still be at it, so nobody can say
/// that nothing changes.
async fn or_first_answer<T, F>(outcome: Result<T>, first: impl FnOnce() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let Err(Error::Failure(Failure::Contention(_))) = outcome else { return outcome };
    Ok(first().await?.ok_or(Failure::RequestInProgress)?)
}
