//! What is counted of users and posts.

use std::collections::BTreeMap;
use std::sync::Arc;

use types::{Role, SystemClock, UserId};

use super::people::{app, person};
use super::posts::published;
use crate::app::posts::GetPopularPosts;
use crate::domain::counters::{FollowCounts, PostCounts, Window};
use crate::recount::Recount;
use crate::storage::Store;

pub(super) async fn all(store: &Store, ann: UserId, ben: UserId) -> anyhow::Result<()> {
    let app = &app(store, 1)?;
    let post = published(app, person(ann, Role::Customer), "cocoa").await?;
    let follows = [
        (ann, FollowCounts { following: 1, ..FollowCounts::default() }),
        (ben, FollowCounts { followers: 1, ..FollowCounts::default() }),
    ];
    // A post that is there, and one that is not.
    let counts = PostCounts { likes: 1, ..PostCounts::default() };
    let counts = BTreeMap::from([(post.id, counts), (app.next_id(), counts)]);
    let mut tx = store.begin("doctor").await?;
    tx.follow_counts_add(&BTreeMap::from(follows)).await?;
    tx.post_counts_add(&counts, app.now()).await?;
    tx.commit_now().await?;
    // The edges are not there.
    let recount = Recount { store: store.clone(), clock: Arc::new(SystemClock), is_to_mend: true };
    let recounted = recount.run(|_| {}).await?;
    anyhow::ensure!(recounted.differences > 0, "the recount found nothing");
    app.record_post_views(person(ben, Role::Customer), &[post.id])?;
    app.flush_post_views().await?;
    app.get_popular_posts(GetPopularPosts { window: Window::Week, size: 5 }).await?;
    store.post_states_are_filled().await?;
    store.post_windows_fill(None, app.now(), 5).await?;
    let later = app.now() + time::Duration::days(31);
    for window in Window::ALL {
        store.post_window_leave(window, later, 5).await?;
    }
    Ok(())
}
