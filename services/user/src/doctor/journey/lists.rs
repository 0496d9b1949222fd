//! Lists of users, searches, and what goes over all of them.

use anyhow::Context as _;
use time::{Duration, OffsetDateTime};
use types::{Role, UserId};

use crate::app::App;
use crate::app::users::{ListUsers, PageStart, SearchUsers};
use crate::domain::profile::Location;
use crate::domain::user::UserState;
use crate::domain::user_find::{FOUND_MAX, Near, UserSearch};
use crate::domain::user_list::{PlaceKey, TimeRange, UserFilter, UserList, UserOrder, UserPlace};
use crate::domain::user_view::{UserFields, Viewer};
use crate::jobs;
use crate::storage::Store;

/// There are three users.
pub(super) async fn all(store: &Store, app: &App) -> anyhow::Result<()> {
    // Whoever is there, and then whoever has changed, one behind the other.
    jobs::fill_search(store).await?;
    store.user_search_fill_changed(OffsetDateTime::UNIX_EPOCH + Duration::days(1), 1).await?;
    for order in [
        UserOrder::CreateTimeDesc,
        UserOrder::CreateTimeAsc,
        UserOrder::DisplayName,
        UserOrder::LastLoginTime,
    ] {
        list(app, order).await?;
    }
    search(store, app).await?;
    walk(app).await
}

/// A list in each of its pieces.
async fn list(app: &App, order: UserOrder) -> anyhow::Result<()> {
    let (start, end) = (OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH + Duration::days(365_000));
    let ranges = match order {
        UserOrder::DisplayName => vec![TimeRange::default()],
        _ => [(None, None), (Some(start), None), (None, Some(end)), (Some(start), Some(end))]
            .map(|(start, end)| TimeRange { start, end })
            .to_vec(),
    };
    let keys = [PlaceKey::Nothing, PlaceKey::Name("a".to_owned()), PlaceKey::Time(app.now())];
    for range in ranges {
        let of = |is_own: bool| if is_own { range } else { TimeRange::default() };
        let filter = UserFilter {
            roles: vec![Role::Customer],
            state: UserState::Active,
            created: of(order != UserOrder::LastLoginTime),
            logged_in: of(order == UserOrder::LastLoginTime),
        };
        let id = UserId::from_uuid(uuid::Uuid::nil());
        let places = keys.iter().filter(|key| order.has(key));
        let behind = places.map(|key| PageStart::Behind(UserPlace { key: key.clone(), id }));
        for start in behind.chain([PageStart::Skip(1)]) {
            let list = UserList { filter: filter.clone(), order };
            let wish = ListUsers { list, start, size: 1, counts: true };
            app.list_users(&wish, |_| Viewer::Service, &UserFields::everything()).await?;
        }
    }
    Ok(())
}

async fn search(store: &Store, app: &App) -> anyhow::Result<()> {
    let place = Location::from_e7(0, 0).ok().context("a place")?;
    let words = vec!["ann".to_owned()];
    for search in [
        UserSearch::Words(words.clone()),
        UserSearch::NamePrefix("a".to_owned()),
        UserSearch::Near(Near { place, radius_km: 1 }),
    ] {
        let wish = SearchUsers { search, after: None, size: 1 };
        app.search_users(&wish, &UserFields::everything()).await?;
    }
    store.user_find_unranked(&words, FOUND_MAX).await?;
    Ok(())
}

async fn walk(app: &App) -> anyhow::Result<()> {
    let mut walk = app.begin_walk(None).await?.context("somebody to pass")?;
    app.snapshot_on(&mut walk).await?;
    for (created, logged_in) in [(false, false), (true, false), (false, true)] {
        let all = TimeRange::default();
        let until = TimeRange { end: Some(app.now() + Duration::days(1)), ..all };
        let filter = UserFilter {
            roles: vec![Role::Customer],
            state: UserState::Active,
            created: if created { until } else { all },
            logged_in: if logged_in { until } else { all },
        };
        let mut walk = app.begin_walk(None).await?.context("somebody to pass")?;
        app.stream_on(&mut walk, &filter, |_| Viewer::Service, &UserFields::everything()).await?;
    }
    Ok(())
}
