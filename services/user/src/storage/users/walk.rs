//! A walk over all users in the order of their ids, in stretches of so many, each of which ends at an id that is known
//! before it is read. So no statement reads more than its stretch, whatever its conditions leave of it, and none leaves a
//! cursor behind: what has failed is asked for again.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use types::UserId;
use uuid::Uuid;

use super::list::conditions;
use super::row::COLLECTION;
use super::view::{UserViewRow, projection};
use crate::domain::user_list::UserFilter;
use crate::domain::user_view::{UserFields, UserView};
use crate::error::Result;
use crate::storage::driver::bounded;
use crate::storage::{SERVER_TIME, Store};

/// How many users a stretch has at most.
pub(super) const STRETCH: u32 = 500;
/// About a second of ids, which begin with a time in milliseconds: where the first stretch ends at the latest.
const FIRST_WIDTH: u128 = 1 << 90;

/// Where a walk is, and where it ends: at who was the last user when it began.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    after: u128,
    last: u128,
    /// How wide the next stretch is at most. A server that sorts what it has found reads all of that.
    width: u128,
}

/// The users above one id and up to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    after: u128,
    through: u128,
    is_full: bool,
}

#[derive(Debug, Deserialize)]
struct IdRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
}

impl Walk {
    /// Who was passed last.
    pub(crate) fn after(&self) -> UserId {
        UserId::from_uuid(Uuid::from_u128(self.after))
    }

    /// Whether everybody was passed.
    pub(crate) fn is_over(&self) -> bool {
        self.after >= self.last
    }

    /// Goes behind a stretch.
    pub(super) fn pass(&mut self, stretch: &Stretch) {
        self.after = stretch.through;
        // As wide as twice the last full one; wider and wider where nobody is.
        let passed = stretch.through - stretch.after;
        self.width = if stretch.is_full { passed.saturating_mul(2) } else { self.width.saturating_mul(2) };
    }
}

/// The users of a stretch.
pub(super) fn range(stretch: &Stretch) -> Document {
    doc! { "_id": { "$gt": id(stretch.after), "$lte": id(stretch.through) } }
}

fn id(number: u128) -> bson::Uuid {
    Uuid::from_u128(number).into()
}

impl Store {
    /// Begins a walk over all who are there now and come behind `after`; `None` if nobody does.
    pub(crate) async fn user_walk(&self, after: Option<UserId>) -> Result<Option<Walk>> {
        let Some(last) = self.user_at_end(-1).await? else { return Ok(None) };
        let after = match after {
            Some(after) => Some(after.uuid().as_u128()),
            None => self.user_at_end(1).await?.map(|first| first.saturating_sub(1)),
        };
        let walk = after.map(|after| Walk { after, last, width: FIRST_WIDTH });
        Ok(walk.filter(|walk| !walk.is_over()))
    }

    /// The next stretch of the walk.
    pub(super) async fn user_walk_stretch(&self, walk: &Walk) -> Result<Stretch> {
        let after = walk.after;
        let widest =
            Stretch { after, through: after.saturating_add(walk.width).min(walk.last), is_full: false };
        let users = self.collection::<IdRow>(COLLECTION);
        let end = users
            .find_one(range(&widest))
            .projection(doc! { "_id": 1 })
            .sort(doc! { "_id": 1 })
            .skip(u64::from(STRETCH - 1))
            .max_time(SERVER_TIME);
        let end = bounded(end).await?;
        let through = end.map(|row| Uuid::from(row.id).as_u128());
        Ok(through.map_or(widest, |through| Stretch { after, through, is_full: true }))
    }

    /// These parts of the users of the next stretch, as far as a filter takes them. Goes behind them.
    pub(crate) async fn user_walk_next(
        &self,
        walk: &mut Walk,
        filter: Option<&UserFilter>,
        fields: &UserFields,
    ) -> Result<Vec<UserView>> {
        let stretch = self.user_walk_stretch(walk).await?;
        let mut those = range(&stretch);
        those.extend(filter.map(conditions).unwrap_or_default());
        let users = self.collection::<UserViewRow>(COLLECTION);
        let find = users.find(those).projection(projection(fields)).sort(doc! { "_id": 1 });
        // All in one answer, which leaves no cursor.
        let rows = find.batch_size(STRETCH + 1).max_time(SERVER_TIME);
        let rows: Vec<UserViewRow> = bounded(bounded(rows).await?.try_collect()).await?;
        walk.pass(&stretch);
        rows.into_iter().map(UserView::try_from).collect()
    }

    /// The first id, or the last.
    async fn user_at_end(&self, way: i32) -> Result<Option<u128>> {
        let users = self.collection::<IdRow>(COLLECTION);
        let end = users.find_one(doc! {}).projection(doc! { "_id": 1 }).sort(doc! { "_id": way });
        Ok(bounded(end).await?.map(|row| Uuid::from(row.id).as_u128()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_follow_each_other_and_are_as_wide_as_users_are_apart() {
        let mut walk = Walk { after: 9, last: 1000, width: 4 };
        assert!(!walk.is_over());
        walk.pass(&Stretch { after: 9, through: 13, is_full: false });
        assert_eq!((walk.after, walk.width), (13, 8), "nobody is there, so it may be more");
        walk.pass(&Stretch { after: 13, through: 16, is_full: true });
        assert_eq!((walk.after, walk.width), (16, 6));
        walk.pass(&Stretch { after: 16, through: 1000, is_full: false });
        assert!(walk.is_over());
        assert_eq!(walk.after().uuid(), Uuid::from_u128(1000));
    }
}
