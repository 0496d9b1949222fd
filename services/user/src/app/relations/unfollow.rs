//! Following somebody no more.

use auth::Person;
use types::{Answer, Call, Keep, UserId};

use crate::app::{App, or_first_answer};
use crate::domain::relation::Unfollowed;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Who shall not be followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnfollowUser {
    /// Somebody else than the caller.
    pub(crate) followee: UserId,
}

impl App {
    /// Lets the caller follow somebody no more, whoever that is and whether they did or not.
    pub(crate) async fn unfollow_user(
        &self,
        call: &Call,
        caller: Person,
        wish: UnfollowUser,
    ) -> Result<Answer<Unfollowed>> {
        let work = |tx| self.unfollow_user_in(tx, call, caller, wish);
        let unfollowed = self.store.transaction("unfollow_user", work);
        or_first_answer(unfollowed.await, || self.first_answer(call)).await
    }

    async fn unfollow_user_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: UnfollowUser,
    ) -> Result<Finished<Answer<Unfollowed>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        if let Some(follow) = tx.follow_fetch(caller.user_id, wish.followee).await? {
            tx.follow_delete(&follow);
            tx.follow_quota_take(caller.user_id);
            tx.event_append(&self.user_unfollowed(&follow, Some(call.key.request_id)))?;
        }
        // Also where there was none: a repeat must not remove an edge that was made since.
        tx.request_insert(call, &Unfollowed, self.now(), Keep::ThirtyDays)?;
        Ok(tx.commit(Answer::first(Unfollowed)))
    }
}
