//! The effects of consumer `user.statistics`: users' sums of their orders, and how many comments posts have. A run of
//! events is added up first and written with a command for each, in the order of the ids.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use api::order::v1::comment_subject::Kind;
use api::order::v1::{
    CommentCreated, CommentDeleted, CommentSubject, OrderCancelled, OrderPaid, OrderPlaced, OrderTransferred,
};
use events::{ConsumerId, EffectError, Effects, Event};
use types::{Clock, PostId, UserId};

use super::reading::{id, read};
use crate::domain::counters::PostCounts;
use crate::domain::user::OrderStatistics;
use crate::storage::Tx;

/// The consumer.
pub(crate) const CONSUMER: ConsumerId = ConsumerId { name: "user.statistics", stream: "order" };

/// The effects.
#[derive(Clone)]
pub(crate) struct Statistics(Arc<dyn Clock>);

impl Statistics {
    /// Effects for which it is as late as this clock says.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }
}

impl fmt::Debug for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Statistics")
    }
}

impl Effects<Tx> for Statistics {
    async fn apply(&self, tx: &mut Tx, run: &[Event]) -> Result<(), EffectError> {
        let sums = add_up(run)?;
        tx.statistics_add(sums.of_users.into_iter()).await?;
        tx.post_counts_add(&sums.of_posts, self.0.now()).await?;
        Ok(())
    }

    fn concerns(&self, event: &Event) -> bool {
        !matches!(change(event), Ok(None))
    }
}

/// What a run adds up to.
#[derive(Debug, Default)]
struct Sums {
    of_users: BTreeMap<UserId, OrderStatistics>,
    of_posts: BTreeMap<PostId, PostCounts>,
}

fn add_up(run: &[Event]) -> Result<Sums, EffectError> {
    let mut sums = Sums::default();
    for event in run {
        let users = &mut sums.of_users;
        match change(event)? {
            None => {}
            Some(Change::Placed { customer }) => {
                let of = users.entry(customer).or_default();
                of.placed_count += 1;
                of.owned_count += 1;
            }
            Some(Change::Paid { customer }) => users.entry(customer).or_default().paid_count += 1,
            Some(Change::Cancelled { customer }) => {
                let of = users.entry(customer).or_default();
                of.cancelled_count += 1;
                of.owned_count -= 1;
            }
            Some(Change::HandedOver { from, to }) => {
                users.entry(from).or_default().owned_count -= 1;
                users.entry(to).or_default().owned_count += 1;
            }
            Some(Change::Commented { post, more }) => sums.of_posts.entry(post).or_default().comments += more,
        }
    }
    Ok(sums)
}

/// What an event means for the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Placed { customer: UserId },
    Paid { customer: UserId },
    Cancelled { customer: UserId },
    HandedOver { from: UserId, to: UserId },
    Commented { post: PostId, more: i64 },
}

/// Reads an event; `None` when it changes no sum.
fn change(event: &Event) -> Result<Option<Change>, EffectError> {
    if let Some(placed) = read::<OrderPlaced>(event)? {
        return Ok(Some(Change::Placed { customer: id(&placed.customer_id)? }));
    }
    if let Some(paid) = read::<OrderPaid>(event)? {
        return Ok(Some(Change::Paid { customer: id(&paid.customer_id)? }));
    }
    if let Some(cancelled) = read::<OrderCancelled>(event)? {
        return Ok(Some(Change::Cancelled { customer: id(&cancelled.customer_id)? }));
    }
    if let Some(handed) = read::<OrderTransferred>(event)? {
        let (from, to) = (id(&handed.from_user_id)?, id(&handed.to_user_id)?);
        return Ok(Some(Change::HandedOver { from, to }));
    }
    if let Some(created) = read::<CommentCreated>(event)? {
        return commented(created.subject, 1);
    }
    if let Some(deleted) = read::<CommentDeleted>(event)? {
        return commented(deleted.subject, -1);
    }
    Ok(None)
}

/// A comment that came or went. Those on anything but posts are counted elsewhere.
fn commented(subject: Option<CommentSubject>, more: i64) -> Result<Option<Change>, EffectError> {
    let post = subject.filter(|subject| subject.kind() == Kind::Post);
    post.map(|subject| Ok(Change::Commented { post: id(&subject.id)?, more })).transpose()
}
