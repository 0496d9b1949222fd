//! Lists of users. Each order has an index that begins with state and role: of several roles the server merges the pieces
//! of the index that it reads, so that a page costs what is on it. What comes behind a place are two pieces: who stands at
//! the same time or name with an id behind it, and who stands further on. One statement for both would walk over all who
//! stand together, and those who have never logged in all do.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::Hint;
use time::OffsetDateTime;
use types::{Role, UserId};

use super::row::{COLLECTION, StateRow};
use super::search::FIELD;
use super::view::{UserViewRow, projection};

use crate::domain::user_list::{
    PlaceKey, Placed, TimeRange, TotalSize, UserFilter, UserList, UserOrder, UserPlace,
};
use crate::domain::user_view::{UserField, UserFields, UserView};
use crate::error::Result;
use crate::storage::driver::bounded;
use crate::storage::{SERVER_TIME, Store, from_time, to_time};

/// How an order is kept.
struct Ordered {
    index: &'static str,
    field: &'static str,
    way: i32,
}

/// A piece of an index: conditions on what it is ordered by, and the order in which it is read.
struct Piece {
    conditions: Document,
    order: Document,
}

impl From<UserOrder> for Ordered {
    fn from(order: UserOrder) -> Self {
        let (index, field, way) = match order {
            UserOrder::CreateTimeDesc => ("listed_by_creation", "create_time", -1),
            UserOrder::CreateTimeAsc => ("listed_by_creation", "create_time", 1),
            UserOrder::DisplayName => ("listed_by_name", "search.name_key", 1),
            UserOrder::LastLoginTime => ("listed_by_login", "last_login_time", -1),
        };
        Self { index, field, way }
    }
}

impl Store {
    /// At most `limit` users behind a place, or behind so many others.
    pub(crate) async fn user_page(
        &self,
        list: &UserList,
        after: Option<&UserPlace>,
        skip: u64,
        limit: u32,
        fields: &UserFields,
    ) -> Result<Placed> {
        let ordered = Ordered::from(list.order);
        let wanted = match list.order {
            UserOrder::CreateTimeDesc | UserOrder::CreateTimeAsc => {
                projection(&fields.clone().and(UserField::CreateTime))
            }
            UserOrder::LastLoginTime => projection(&fields.clone().and(UserField::LastLoginTime)),
            UserOrder::DisplayName => with_name_key(projection(fields)),
        };
        let mut found = Placed::new();
        for piece in pieces(list, after) {
            let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(found.len());
            if left == 0 {
                break;
            }
            let mut filter = of_state_and_roles(&list.filter);
            filter.extend(piece.conditions);
            let users = self.collection::<UserViewRow>(COLLECTION);
            let find = users
                .find(filter)
                .projection(wanted.clone())
                .sort(piece.order)
                .hint(Hint::Name(ordered.index.to_owned()))
                .skip(skip)
                .limit(i64::try_from(left).unwrap_or(i64::MAX))
                .max_time(SERVER_TIME);
            let rows: Vec<UserViewRow> = bounded(bounded(find).await?.try_collect()).await?;
            for row in rows {
                found.push((row.place(list.order), UserView::try_from(row)?));
            }
        }
        Ok(found)
    }

    /// How many users a list has, of which so many are counted.
    pub(crate) async fn user_total(&self, list: &UserList, most: u32) -> Result<TotalSize> {
        let ordered = Ordered::from(list.order);
        let users = self.collection::<Document>(COLLECTION);
        let mut filter = of_state_and_roles(&list.filter);
        filter.extend(whole(list, ordered.field));
        let count = users
            .count_documents(filter)
            .limit(u64::from(most) + 1)
            .hint(Hint::Name(ordered.index.to_owned()))
            .max_time(SERVER_TIME);
        let count = u32::try_from(bounded(count).await?).unwrap_or(u32::MAX);
        Ok(TotalSize { count: count.min(most), is_minimum: count > most })
    }
}

impl UserViewRow {
    fn place(&self, order: UserOrder) -> UserPlace {
        let time = |time: Option<bson::DateTime>| {
            time.map_or(PlaceKey::Nothing, |time| PlaceKey::Time(to_time(time)))
        };
        let key = match order {
            UserOrder::CreateTimeDesc | UserOrder::CreateTimeAsc => time(self.create_time),
            UserOrder::LastLoginTime => time(self.last_login_time),
            UserOrder::DisplayName => {
                let key = self.search.as_ref().and_then(|search| search.name_key.clone());
                key.map_or(PlaceKey::Nothing, PlaceKey::Name)
            }
        };
        UserPlace { key, id: UserId::from_uuid(self.id.into()) }
    }
}

/// The same with the folded name.
fn with_name_key(mut projection: Document) -> Document {
    if projection.remove(FIELD).is_some() {
        projection.insert("search.name_words", 0);
        projection.insert("search.words", 0);
    } else {
        projection.insert("search.name_key", 1);
    }
    projection
}

/// What is behind a place, piece by piece; all of the list without one.
fn pieces(list: &UserList, after: Option<&UserPlace>) -> Vec<Piece> {
    let Ordered { field, way, .. } = list.order.into();
    let order = || doc! { field: way, "_id": way };
    let Some(after) = after else {
        return vec![Piece { conditions: whole(list, field), order: order() }];
    };
    let behind = |value: Bson| doc! { if way < 0 { "$lt" } else { "$gt" }: value };
    let value = match &after.key {
        PlaceKey::Nothing => Bson::Null,
        PlaceKey::Time(time) => from_time(*time).into(),
        PlaceKey::Name(key) => key.as_str().into(),
    };
    let id = bson::Uuid::from(after.id.uuid());
    let same = doc! { field: value.clone(), "_id": behind(id.into()) };
    let mut pieces = vec![Piece { conditions: same, order: doc! { "_id": way } }];
    let further = match (list.order, &after.key) {
        (UserOrder::LastLoginTime, PlaceKey::Nothing) => None,
        (UserOrder::LastLoginTime, _) => {
            Some(times(TimeRange { end: time_of(&after.key), ..list.filter.logged_in }, true))
        }
        (UserOrder::CreateTimeDesc, _) => {
            Some(times(TimeRange { end: time_of(&after.key), ..list.filter.created }, false))
        }
        (UserOrder::CreateTimeAsc, _) => {
            let mut later = behind(value);
            later.extend(times(TimeRange { start: None, ..list.filter.created }, false));
            Some(later)
        }
        (UserOrder::DisplayName, PlaceKey::Nothing) => Some(doc! { "$gte": "" }),
        (UserOrder::DisplayName, _) => Some(behind(value)),
    };
    pieces.extend(further.map(|range| Piece { conditions: doc! { field: range }, order: order() }));
    pieces
}

fn time_of(key: &PlaceKey) -> Option<OffsetDateTime> {
    match key {
        PlaceKey::Time(time) => Some(*time),
        PlaceKey::Nothing | PlaceKey::Name(_) => None,
    }
}

/// What a list asks of that by which it is ordered.
fn whole(list: &UserList, field: &str) -> Document {
    let range = match list.order {
        UserOrder::CreateTimeDesc | UserOrder::CreateTimeAsc => times(list.filter.created, false),
        UserOrder::LastLoginTime => times(list.filter.logged_in, true),
        UserOrder::DisplayName => Document::new(),
    };
    if range.is_empty() {
        range
    } else {
        doc! { field: range }
    }
}

/// A range as the server has it. Whoever has no time is before any, if `missing_is_before`.
fn times(range: TimeRange, missing_is_before: bool) -> Document {
    let at = |time: OffsetDateTime| Bson::from(rounded_up(time));
    match (range.start, range.end) {
        (None, Some(end)) if missing_is_before => doc! { "$not": { "$gte": at(end) } },
        (start, end) => {
            let start = start.map(|start| ("$gte".to_owned(), at(start)));
            start.into_iter().chain(end.map(|end| ("$lt".to_owned(), at(end)))).collect()
        }
    }
}

/// The first time that a row can hold and that is not before this one.
fn rounded_up(time: OffsetDateTime) -> bson::DateTime {
    let down = from_time(time);
    if to_time(down) < time { bson::DateTime::from_millis(down.timestamp_millis() + 1) } else { down }
}

fn of_state_and_roles(filter: &UserFilter) -> Document {
    let roles: Vec<&str> = filter.roles.iter().copied().map(Role::as_str).collect();
    doc! { "state": StateRow::from(filter.state).as_str(), "role": { "$in": roles } }
}

/// All that a filter asks of users who are looked for by their ids. State and roles are part of an expression, which no index
/// serves: a server that could take one for them might walk over all who are in that state, once for each few ids.
pub(super) fn conditions(filter: &UserFilter) -> Document {
    let state = StateRow::from(filter.state).as_str();
    let roles: Vec<&str> = filter.roles.iter().copied().map(Role::as_str).collect();
    let all = [doc! { "$in": ["$state", [state]] }, doc! { "$in": ["$role", roles] }];
    let mut conditions = doc! { "$expr": { "$and": all } };
    for (field, range) in
        [("create_time", times(filter.created, false)), ("last_login_time", times(filter.logged_in, true))]
    {
        if !range.is_empty() {
            conditions.insert(field, range);
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use uuid::Uuid;

    use super::*;
    use crate::domain::user::UserState;

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(second)
    }

    fn list(order: UserOrder, range: TimeRange) -> UserList {
        let filter = UserFilter {
            roles: vec![Role::Admin],
            state: UserState::Active,
            created: range,
            logged_in: range,
        };
        UserList { filter, order }
    }

    fn behind(order: UserOrder, range: TimeRange, key: PlaceKey) -> Vec<Document> {
        let place = UserPlace { key, id: UserId::from_uuid(Uuid::from_u128(1)) };
        pieces(&list(order, range), Some(&place)).into_iter().map(|piece| piece.conditions).collect()
    }

    #[test]
    fn who_never_logged_in_did_so_before_any_time() {
        let second = |number| rounded_up(at(number));
        let from = |start, end| TimeRange { start, end };
        let order = UserOrder::LastLoginTime;
        for (range, expected) in [
            (from(None, None), doc! {}),
            (from(None, Some(at(9))), doc! { "last_login_time": { "$not": { "$gte": second(9) } } }),
            (from(Some(at(3)), None), doc! { "last_login_time": { "$gte": second(3) } }),
            (
                from(Some(at(3)), Some(at(9))),
                doc! { "last_login_time": { "$gte": second(3), "$lt": second(9) } },
            ),
        ] {
            assert_eq!(whole(&list(order, range), "last_login_time"), expected);
        }
        let last = behind(order, from(None, Some(at(9))), PlaceKey::Time(at(5)));
        assert_eq!(last[1], doc! { "last_login_time": { "$not": { "$gte": second(5) } } });
        let last = behind(order, from(Some(at(3)), None), PlaceKey::Time(at(5)));
        assert_eq!(last[1], doc! { "last_login_time": { "$gte": second(3), "$lt": second(5) } });
        assert_eq!(behind(order, from(None, None), PlaceKey::Nothing).len(), 1, "nobody is behind them");
    }

    #[test]
    fn a_range_ends_where_it_should_though_rows_have_milliseconds() {
        let half = at(1) + Duration::microseconds(500);
        let next = rounded_up(at(1) + Duration::MILLISECOND);
        assert_eq!((rounded_up(half), rounded_up(at(1))), (next, from_time(at(1))));
    }
}
