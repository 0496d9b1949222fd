//! The workers that remove what is left of what is gone: what users leave who are deleted, and the likes of deleted posts. One
//! replica at a time looks, for thrift: what it does may be done twice.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;
use crate::app::relations::{EDGES_MOST, Leaving};
use crate::error::Result;
use crate::rounds::repeat;

const OF_USERS: &str = "erasure";
/// Longer than what is removed at once takes.
const LEASE: Duration = Duration::from_secs(30);
/// How often it is looked for somebody. Where there is nobody, that is one look at the beginning of an index.
const EVERY: Duration = Duration::from_secs(1);

const OF_POSTS: &str = "likes_of_deleted_posts";
/// Longer than one transaction of likes takes.
const LIKES_LEASE: Duration = Duration::from_secs(10);
/// How often deleted posts are looked for.
const LIKES_EVERY: Duration = Duration::from_secs(2);
/// Longer than a call that read a post before it was deleted may take to like it.
const LIKES_AGAIN: Duration = Duration::from_secs(10);
/// Deleted posts that are looked for at once.
const POSTS: i64 = 100;

/// Removes what deleted users leave, until `stop` is cancelled.
pub(crate) async fn of_users(app: App, owner: Uuid, stop: CancellationToken) {
    repeat(EVERY, "cannot remove what a deleted user left", stop, || users(&app, owner)).await;
}

/// Removes the likes of deleted posts, until `stop` is cancelled.
pub(crate) async fn of_posts(app: App, owner: Uuid, stop: CancellationToken) {
    repeat(LIKES_EVERY, "cannot remove the likes of deleted posts", stop, || posts(&app, owner)).await;
}

/// Until nobody's turn is left.
async fn users(app: &App, owner: Uuid) -> Result<ControlFlow<()>> {
    while app.store.worker_lease(OF_USERS, owner, LEASE).await?.is_some() && app.erase_some().await? {}
    Ok(ControlFlow::Continue(()))
}

/// Removes the likes of the posts that are due: each a first time, and a last time when no call that would like it is on its
/// way any more.
async fn posts(app: &App, owner: Uuid) -> Result<ControlFlow<()>> {
    let lease = || app.store.worker_lease(OF_POSTS, owner, LIKES_LEASE);
    loop {
        let Some(now) = lease().await? else { return Ok(ControlFlow::Continue(())) };
        let due = app.store.deleted_post_list_due(now, POSTS).await?;
        for post in &due {
            while app.relations_remove_some(Leaving::LikesOfPost(post.post())).await? == EDGES_MOST {
                if lease().await?.is_none() {
                    return Ok(ControlFlow::Continue(()));
                }
            }
            if post.was_swept() {
                app.store.deleted_post_forget(post.post()).await?;
            } else {
                app.store.deleted_post_put_off(post.post(), now + LIKES_AGAIN).await?;
            }
        }
        if i64::try_from(due.len()) != Ok(POSTS) {
            return Ok(ControlFlow::Continue(()));
        }
    }
}
