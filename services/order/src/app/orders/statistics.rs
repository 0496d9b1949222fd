//! What the orders of each user add up to at one position of our stream, for user service to rebuild its sums from.

use std::collections::BTreeMap;

use events::Mark;
use types::UserId;

use crate::app::App;
use crate::app::events::{PLACE_ORDER, sums_changed};
use crate::domain::Sums;
use crate::error::Result;
use crate::storage::SumsSnapshot;

/// Sums that are being read.
pub(crate) struct Statistics {
    snapshot: SumsSnapshot,
    /// What the sums include of events that are behind the head of the stream.
    ahead: BTreeMap<UserId, Sums>,
    is_over: bool,
}

impl App {
    /// Begins to read everybody's sums.
    pub(crate) async fn snapshot_order_statistics(&self) -> Result<Statistics> {
        let mut snapshot = self.store.sums_snapshot(PLACE_ORDER).await?;
        let mut ahead: BTreeMap<UserId, Sums> = BTreeMap::new();
        for event in std::mem::take(&mut snapshot.pending) {
            for (user_id, change) in sums_changed(&event.event_type, &event.payload)? {
                *ahead.entry(user_id).or_default() += change;
            }
        }
        Ok(Statistics { snapshot, ahead, is_over: false })
    }
}

impl Statistics {
    /// Where the stream stood.
    pub(crate) fn head(&self) -> Mark {
        self.snapshot.head
    }

    /// The next users, in ascending order over all pages; `None` after the last.
    pub(crate) async fn next_page(&mut self) -> Result<Option<Vec<(UserId, Sums)>>> {
        if self.is_over {
            return Ok(None);
        }
        let page = self.snapshot.next_page().await?;
        self.is_over = page.is_empty();
        let end = page.last().map(|(user_id, _)| *user_id);
        Ok(Some(as_of_head(page, take_through(&mut self.ahead, end))))
    }
}

/// Takes out what is not above `end`, or everything if there is no `end`.
fn take_through(ahead: &mut BTreeMap<UserId, Sums>, end: Option<UserId>) -> BTreeMap<UserId, Sums> {
    let Some(end) = end else { return std::mem::take(ahead) };
    let mut above = ahead.split_off(&end);
    let at_end = above.remove(&end);
    let mut through = std::mem::replace(ahead, above);
    through.extend(at_end.map(|change| (end, change)));
    through
}

/// Takes back what happened after the head. Somebody may have had orders then and have none now.
fn as_of_head(page: Vec<(UserId, Sums)>, ahead: BTreeMap<UserId, Sums>) -> Vec<(UserId, Sums)> {
    let mut now: BTreeMap<UserId, Sums> = page.into_iter().collect();
    for (user_id, change) in ahead {
        let sums = now.entry(user_id).or_default();
        *sums = *sums - change;
    }
    now.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::user;

    fn owned(owned: i64) -> Sums {
        Sums { owned, ..Sums::default() }
    }

    #[test]
    fn what_has_no_position_yet_is_taken_back_and_the_order_stays() {
        // User 2 handed an order to user 3 and has none now; both events have no position yet.
        let mut ahead = BTreeMap::from([(user(2), owned(-1)), (user(3), owned(1)), (user(9), owned(-1))]);
        let first = vec![(user(1), owned(4)), (user(3), owned(2))];
        let through = take_through(&mut ahead, first.last().map(|(user_id, _)| *user_id));
        let page = as_of_head(first, through);
        assert_eq!(page, [(user(1), owned(4)), (user(2), owned(1)), (user(3), owned(1))]);
        let rest = take_through(&mut ahead, None);
        assert_eq!(as_of_head(Vec::new(), rest), [(user(9), owned(1))]);
        assert!(ahead.is_empty());
    }
}
