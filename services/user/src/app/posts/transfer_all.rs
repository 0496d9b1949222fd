//! Handing over the posts of a user, some in each call.

use auth::Person;
use types::{Answer, Call, Keep, Role, UserId};

use crate::app::{App, or_first_answer};
use crate::domain::post::{PostRefused, PostsHandedOver};
use crate::domain::user::{UserRefused, UserState};
use crate::error::Result;
use crate::storage::{Finished, Tx};

/// Posts of one call: the events of them all are one transaction.
const POSTS_MOST: u32 = 100;

/// Whose posts shall go to whom.
#[derive(Debug)]
pub(crate) struct TransferAllPosts {
    pub(crate) from: UserId,
    pub(crate) to: UserId,
}

impl App {
    /// Hands posts of the caller, or for an admin those of somebody who is gone, to another active user.
    pub(crate) async fn transfer_all_posts(
        &self,
        call: &Call,
        caller: Person,
        wish: TransferAllPosts,
    ) -> Result<Answer<PostsHandedOver>> {
        let work = |tx| self.transfer_all_posts_in(tx, call, caller, &wish);
        let transferred = self.store.transaction("transfer_all_posts", work);
        or_first_answer(transferred.await, || self.first_answer(call)).await
    }

    async fn transfer_all_posts_in(
        &self,
        mut tx: Tx,
        call: &Call,
        caller: Person,
        wish: &TransferAllPosts,
    ) -> Result<Finished<Answer<PostsHandedOver>>> {
        if let Some(saved) = tx.request_fetch(&call.key).await? {
            return Ok(tx.commit(saved.replay(call)?));
        }
        let states = tx.user_state_list(&[wish.from, wish.to]).await?;
        require_owner_of_all(caller, wish.from, &states)?;
        state_of(wish.to, &states)?.require_active(wish.to)?;
        let now = self.now();
        let mut posts = tx.post_list_of(wish.from, POSTS_MOST + 1).await?;
        let most = usize::try_from(POSTS_MOST).unwrap_or(usize::MAX);
        let has_more = posts.len() > most;
        posts.truncate(most);
        let count = i64::try_from(posts.len()).unwrap_or(i64::MAX);
        if count > 0 {
            tx.user_post_count_add(wish.to, count);
            tx.user_post_count_take(wish.from, count);
        }
        for before in &posts {
            let post = before.handed_over(wish.to, now);
            tx.post_hand_over(before, &post);
            tx.event_append(&self.post_transferred(&post, wish.from, call.key.request_id))?;
        }
        let answer = PostsHandedOver { ids: posts.iter().map(|post| post.id).collect(), has_more };
        tx.request_insert(call, &answer, now, Keep::ThirtyDays)?;
        tx.flush_for_active(&[wish.to]).await?;
        Ok(tx.commit(Answer::first(answer)))
    }
}

/// Refuses whoever may not hand over the posts of a user: people may hand over their own, while they are active, and admins
/// those of somebody who is not. What is only read here cannot change unseen where there is a post, since the transaction
/// writes that user's count.
fn require_owner_of_all(caller: Person, from: UserId, states: &[(UserId, UserState)]) -> Result<()> {
    let is_own = caller.user_id == from;
    if !is_own && caller.role != Role::Admin {
        return Err(PostRefused::NotAuthorOfAll(from).into());
    }
    match (is_own, state_of(from, states)? == UserState::Active) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => Ok(state_of(from, states)?.require_active(from)?),
        (false, true) => Err(PostRefused::NotAuthorOfAll(from).into()),
    }
}

fn state_of(user: UserId, states: &[(UserId, UserState)]) -> Result<UserState> {
    let state = states.iter().find(|(id, _)| *id == user).map(|(_, state)| *state);
    Ok(state.ok_or(UserRefused::NotFound(user))?)
}
