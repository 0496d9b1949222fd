//! Finding users.

use std::collections::HashMap;

use types::UserId;

use crate::app::App;
use crate::domain::user_find::{FOUND_MAX, Found, FoundUser, UserSearch};
use crate::domain::user_view::{UserField, UserFields, UserView, Viewer};
use crate::error::Result;

/// A page of what is found.
#[derive(Debug, Clone)]
pub(crate) struct SearchUsers {
    pub(crate) search: UserSearch,
    /// Where the page before ended.
    pub(crate) after: Option<Found>,
    pub(crate) size: u32,
}

/// What a page has.
#[derive(Debug)]
pub(crate) struct FoundPage {
    pub(crate) users: Vec<FoundUser>,
    /// Where the page ends, if there is a next one.
    pub(crate) next: Option<Found>,
    /// Whether their order tells how well words fit; `None` if they were not found by words.
    pub(crate) is_ranked: Option<bool>,
}

impl App {
    /// Finds users. Each page looks for all that a search may find and shows a part of it, so that those who stand
    /// together neither come twice nor get lost between two pages.
    pub(crate) async fn search_users(&self, wish: &SearchUsers, fields: &UserFields) -> Result<FoundPage> {
        let (mut found, is_ranked) = match &wish.search {
            UserSearch::NamePrefix(prefix) => {
                (self.store.user_find_by_prefix(prefix, FOUND_MAX).await?, None)
            }
            UserSearch::Near(near) => (self.store.user_find_near(near, FOUND_MAX).await?, None),
            UserSearch::Words(words) => {
                let is_ranked = self.store.has_ranked_words().await?;
                (self.by_words(words).await?, Some(is_ranked))
            }
        };
        found.sort();
        if let Some(after) = &wish.after {
            found.retain(|found| found > after);
        }
        let size = usize::try_from(wish.size).unwrap_or(usize::MAX);
        let has_more = found.len() > size;
        found.truncate(size);
        let next = found.last().filter(|_| has_more).cloned();
        let is_near = matches!(wish.search, UserSearch::Near(_));
        Ok(FoundPage { users: self.found(found, is_near, fields).await?, next, is_ranked })
    }

    async fn by_words(&self, words: &[String]) -> Result<Vec<Found>> {
        if words.is_empty() {
            return Ok(Vec::new());
        }
        self.store.user_find_by_words(words, FOUND_MAX).await
    }

    /// Those who were found, as anybody sees them. Who has been deactivated since is left out, and of those who were
    /// found by where they are, who hides it since.
    async fn found(&self, found: Vec<Found>, is_near: bool, fields: &UserFields) -> Result<Vec<FoundUser>> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<UserId> = found.iter().map(|found| found.id).collect();
        let seen = fields.seen_by(Viewer::Other).and(UserField::LocationShared);
        let users = self.store.user_view_list_active(&ids, &seen);
        let (users, mut follows) = tokio::try_join!(users, self.follows_of(&ids, fields))?;
        let mut users: HashMap<UserId, UserView> = users.into_iter().map(|user| (user.id, user)).collect();
        let shown = |found: Found| {
            let follows = follows.as_mut().map(|follows| follows.remove(&found.id).unwrap_or_default());
            let user = UserView { follows, ..users.remove(&found.id)? };
            (!is_near || user.profile.location_shared).then(|| FoundUser {
                distance_km: found.rank.distance_km(),
                user: user.seen_by(Viewer::Other),
            })
        };
        Ok(found.into_iter().filter_map(shown).collect())
    }
}
