//! Following somebody.

use auth::Person;
use types::{Answer, Call, Keep, UserId};

use crate::app::{App, or_first_answer};
use crate::domain::relation::{FOLLOWS_MAX, Follow, RelationRefused};
use crate::domain::user::UserRefused;
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Who shall be followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FollowUser {
    /// Somebody else than the caller.
    pub(crate) followee: UserId,
}

impl App {
    /// Lets the caller follow somebody. Who does already goes on with the edge that there is.
    pub(crate) async fn follow_user(
        &self,
        call: &Call,
        caller: Person,
        wish: FollowUser,
    ) -> Result<Answer<Follow>> {
        let work = |tx| self.follow_user_in(tx, call, caller, wish);
        let followed = self.store.transaction("follow_user", work);
        or_first_answer(followed.await, || self.first_answer(call)).await
    }

    async fn follow_user_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: FollowUser,
    ) -> Result<Finished<Answer<Follow>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let now = self.now();
        let follow = match tx.follow_fetch(caller.user_id, wish.followee).await? {
            Some(follow) => follow,
            None => {
                require_active(&mut tx, [caller.user_id, wish.followee]).await?;
                let id = self.next_id();
                let follow =
                    Follow { id, follower: caller.user_id, followee: wish.followee, create_time: now };
                count(&mut tx, caller.user_id).await?;
                tx.follow_insert(&follow)?;
                tx.event_append(&self.user_followed(&follow, call.key.request_id))?;
                follow
            }
        };
        tx.request_insert(call, &follow, now, Keep::ThirtyDays)?;
        Ok(tx.commit(Answer::first(follow)))
    }
}

/// Both are only read: no two who follow one person shall meet. One who follows somebody that is just leaving may get
/// through; whoever removes the edges of a user who is gone comes back for it.
async fn require_active(tx: &mut Tx, users: [UserId; 2]) -> Result<()> {
    let states = tx.user_state_list(&users).await?;
    for user in users {
        match states.iter().find(|(id, _)| *id == user) {
            None => return Err(UserRefused::NotFound(user).into()),
            Some((_, state)) => state.require_active(user)?,
        }
    }
    Ok(())
}

/// Makes room for one more. The number that is kept is never below that of the edges, and every call that makes one writes
/// it, so that no two calls of one follower can both take the last place. It is counted anew where it leaves no room.
async fn count(tx: &mut Tx, follower: UserId) -> Result<()> {
    let kept = tx.follow_quota_fetch(follower).await?;
    let mut at_most = kept.unwrap_or_default();
    if at_most >= FOLLOWS_MAX {
        at_most = tx.follow_count(follower, FOLLOWS_MAX).await?;
    }
    if at_most >= FOLLOWS_MAX {
        return Err(RelationRefused::FollowLimit(follower).into());
    }
    tx.follow_quota_set(follower, kept, at_most + 1)
}
