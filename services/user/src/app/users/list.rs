//! Lists of users, a page at a time.

use types::UserId;

use crate::app::App;
use crate::domain::user_list::{TotalSize, UserList, UserPlace};
use crate::domain::user_view::{UserFields, UserView, Viewer};
use crate::error::Result;

/// How many users are counted at most.
const COUNTED_MAX: u32 = 10_000;

/// Where a page begins.
#[derive(Debug, Clone)]
pub(crate) enum PageStart {
    /// Behind so many users.
    Skip(u64),
    /// Where the page before ended.
    Behind(UserPlace),
}

/// A page of a list.
#[derive(Debug, Clone)]
pub(crate) struct ListUsers {
    pub(crate) list: UserList,
    pub(crate) start: PageStart,
    pub(crate) size: u32,
    /// Whether to count the whole list.
    pub(crate) counts: bool,
}

/// What a page of a list has.
#[derive(Debug)]
pub(crate) struct UserPage {
    pub(crate) users: Vec<UserView>,
    /// Where the page ends, if there is a next one.
    pub(crate) next: Option<UserPlace>,
    pub(crate) total: Option<TotalSize>,
}

impl App {
    /// A page of users. How many statements there are in it does not depend on how many users it has.
    pub(crate) async fn list_users(
        &self,
        wish: &ListUsers,
        viewer: impl Fn(UserId) -> Viewer,
        fields: &UserFields,
    ) -> Result<UserPage> {
        let ListUsers { list, start, size, counts } = wish;
        let (after, skip) = match start {
            PageStart::Skip(skip) => (None, *skip),
            PageStart::Behind(place) => (Some(place), 0),
        };
        let page = self.store.user_page(list, after, skip, size + 1, fields);
        let (mut page, total) = tokio::try_join!(page, self.total(list, *counts))?;
        let size = usize::try_from(*size).unwrap_or(usize::MAX);
        let has_more = page.len() > size;
        page.truncate(size);
        let next = page.last().filter(|_| has_more).map(|(place, _)| place.clone());
        let users = page.into_iter().map(|(_, user)| user).collect();
        Ok(UserPage { users: self.shown(users, viewer, fields).await?, next, total })
    }

    async fn total(&self, list: &UserList, counts: bool) -> Result<Option<TotalSize>> {
        if counts { self.store.user_total(list, COUNTED_MAX).await.map(Some) } else { Ok(None) }
    }
}
