//! `user-service recount`: whether what is counted of users and posts is what is there, and making it so.
//!
//! It is right while the service runs. A page of users or posts is read in one transaction, and with it the mark of the
//! consumer that counts and every event that it has not applied: what is there, less what those tell of, is what must be
//! counted in that snapshot. Mending writes in the same transaction, which meets a conflict where somebody counts at the
//! same moment, and is done again.
//!
//! Views cannot be recounted: that somebody viewed a post is remembered for a day only. Comments are order service's, and
//! so are the sums of orders.

use std::fmt;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};
use types::{Clock, PostId, UserId};

use crate::consumers::{COUNTERS_CONSUMER, Counted};
use crate::domain::counters::{FollowCounts, PostCounts, Window};
use crate::error::{Error, Result};
use crate::storage::{Finished, PostTally, Store, Tx, UserTally};

/// Users and posts of one transaction.
const PAGE: i64 = 200;
/// More events than this are not read for each of them.
const UNAPPLIED_MAX: usize = 10_000;
/// How far the clocks of two processes may be apart, of which one takes a post from a window.
const CLOCKS_APART: Duration = Duration::MINUTE;

/// Something that is counted, and is not as many as are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Of whom or what.
    subject: String,
    /// What is counted.
    what: &'static str,
    counted: String,
    there: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, what, counted, there } = self;
        write!(f, "{subject}: {what}: {counted} counted, {there} there")
    }
}

/// What a recount came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recounted {
    /// Users that were looked at.
    pub users: u64,
    /// Posts that were looked at.
    pub posts: u64,
    /// Differences that were found.
    pub differences: u64,
}

/// Counts anew.
pub(crate) struct Recount {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) is_to_mend: bool,
}

/// What a page came to: how many there are in it, what differs, and where the next one begins.
type Page<K> = (usize, Vec<Difference>, Option<K>);

impl Recount {
    /// Looks at all users and all posts; `tell` is told of what differs, after it was mended if it shall be.
    pub(crate) async fn run(&self, mut tell: impl FnMut(&Difference)) -> Result<Recounted> {
        let mut recounted = Recounted::default();
        let mut found = |differences: Vec<Difference>| {
            differences.iter().for_each(&mut tell);
            differences.len() as u64
        };
        let mut after = None;
        loop {
            let page = self.store.transaction("recount_users", |tx| self.users(tx, after));
            let (users, differences, end) = page.await?;
            recounted.users += users as u64;
            recounted.differences += found(differences);
            if end.is_none() {
                break;
            }
            after = end;
        }
        let mut after = None;
        loop {
            let page = self.store.transaction("recount_posts", |tx| self.posts(tx, after));
            let (posts, differences, end) = page.await?;
            recounted.posts += posts as u64;
            recounted.differences += found(differences);
            if end.is_none() {
                return Ok(recounted);
            }
            after = end;
        }
    }

    async fn users(&self, mut tx: Tx, after: Option<UserId>) -> Result<Finished<Page<UserId>>> {
        let unapplied = unapplied(&mut tx).await?;
        let page = tx.user_tallies(after, PAGE).await?;
        let mut differences = Vec::new();
        for (id, tally) in &page.all {
            let more = unapplied.of_users.get(id).copied().unwrap_or_default();
            let follows = FollowCounts {
                followers: tally.follows_there.followers - more.followers,
                following: tally.follows_there.following - more.following,
            };
            differences.extend(of_user(*id, tally, follows));
            if self.is_to_mend && follows != tally.follows {
                tx.follow_counts_mend(*id, follows).await?;
            }
            if self.is_to_mend && tally.post_count.is_some_and(|count| count != tally.posts_there) {
                tx.post_count_mend(*id, tally.posts_there).await?;
            }
        }
        Ok(self.end(tx, (page.all.len(), differences, page.end)))
    }

    async fn posts(&self, mut tx: Tx, after: Option<PostId>) -> Result<Finished<Page<PostId>>> {
        let unapplied = unapplied(&mut tx).await?;
        let now = self.clock.now();
        let page = tx.post_tallies(after, PAGE).await?;
        let mut differences = Vec::new();
        for (id, tally) in &page.all {
            let counts = tally.counted.as_ref().map(|row| row.counts()).unwrap_or_default();
            // A post that an event is about is put where it belongs by that event.
            let more = unapplied.of_posts.get(id).copied();
            let likes = tally.likes_there - more.unwrap_or_default().likes;
            let found = of_post(*id, tally, likes, (more.is_none()).then_some(now));
            if self.is_to_mend && !found.is_empty() {
                let counts = PostCounts { likes, ..counts };
                tx.post_counts_mend(*id, tally.post.as_ref(), counts, now).await?;
            }
            differences.extend(found);
        }
        Ok(self.end(tx, (page.all.len(), differences, page.end)))
    }

    fn end<T>(&self, tx: Tx, page: T) -> Finished<T> {
        if self.is_to_mend { tx.commit(page) } else { tx.abandon(page) }
    }
}

async fn unapplied(tx: &mut Tx) -> Result<Counted> {
    let events = tx.unapplied(COUNTERS_CONSUMER, UNAPPLIED_MAX).await?;
    let name = COUNTERS_CONSUMER.name;
    let events = events.ok_or_else(|| {
        Error::unavailable(format!(
            "{name} is more than {UNAPPLIED_MAX} events behind: recount when it has caught up"
        ))
    })?;
    // What cannot be read is parked, and changes nothing that is counted.
    Ok(Counted::of_readable(&events))
}

fn difference(
    subject: &str,
    what: &'static str,
    counted: &dyn fmt::Display,
    there: &dyn fmt::Display,
) -> Option<Difference> {
    let (counted, there) = (counted.to_string(), there.to_string());
    (counted != there).then(|| Difference { subject: subject.to_owned(), what, counted, there })
}

fn of_user(id: UserId, tally: &UserTally, follows: FollowCounts) -> impl Iterator<Item = Difference> {
    let subject = format!("user {id}");
    let posts = tally.post_count.and_then(|count| difference(&subject, "posts", &count, &tally.posts_there));
    let followers = difference(&subject, "followers", &tally.follows.followers, &follows.followers);
    let following = difference(&subject, "following", &tally.follows.following, &follows.following);
    [posts, followers, following].into_iter().flatten()
}

/// `now` is absent where an event is on its way that puts the post where it belongs.
fn of_post(id: PostId, tally: &PostTally, likes: i64, now: Option<OffsetDateTime>) -> Vec<Difference> {
    let subject = format!("post {id}");
    let Some(post) = &tally.post else {
        let is_left = now.is_some() && tally.counted.as_ref().is_some_and(|row| !row.is_gone());
        return difference(&subject, "counters", &u8::from(is_left), &0).into_iter().collect();
    };
    let counts = tally.counted.as_ref().map(|row| row.counts()).unwrap_or_default();
    let score = tally.counted.as_ref().map(|row| row.score).unwrap_or_default();
    let windows = now.and_then(|now| {
        let kept = tally.counted.as_ref().map(|row| row.windows.as_slice()).unwrap_or_default();
        let publish_time = tally.counted.as_ref().and_then(|row| row.publish_time());
        let wanted: Vec<&str> = match post.published_at() {
            Some(time) => Window::of(time, now + CLOCKS_APART).into_iter().map(Window::as_str).collect(),
            None => Vec::new(),
        };
        let is_right = match post.published_at() {
            None => kept.is_empty(),
            // It may still be in those that it is too old for.
            Some(time) => {
                wanted.iter().all(|window| kept.iter().any(|kept| kept == window))
                    && (kept.is_empty() || publish_time == Some(time))
            }
        };
        if is_right {
            None
        } else {
            difference(&subject, "windows", &format!("{kept:?}"), &format!("{wanted:?}"))
        }
    });
    let likes = difference(&subject, "likes", &counts.likes, &likes);
    let score = difference(&subject, "score", &score, &counts.score());
    [likes, score, windows].into_iter().flatten().collect()
}
