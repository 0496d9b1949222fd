//! Reading users: by id, by name, by address, many at once. Everybody gets what they may see and want to.

use std::collections::HashMap;

use types::UserId;

use crate::app::App;
use crate::domain::email::Email;
use crate::domain::post::{Post, PostState, PostsOf};
use crate::domain::user::{OrderStatistics, UserRefused};
use crate::domain::user_view::{UserField, UserFields, UserView, Viewer};
use crate::domain::username::Username;
use crate::error::Result;

/// How many posts are shown with a user.
const RECENT_POSTS: u32 = 10;

impl App {
    /// A user by id.
    pub(crate) async fn get_user(&self, id: UserId, viewer: Viewer, fields: &UserFields) -> Result<UserView> {
        let seen = fields.seen_by(viewer).and(UserField::State);
        let (view, statistics, recent_posts) = tokio::try_join!(
            self.store.user_view_fetch(id, &seen),
            self.statistics(id, viewer, fields),
            self.recent_posts(id, fields)
        )?;
        let view = view.filter(|view| view.is_there_for(viewer)).ok_or(UserRefused::NotFound(id))?;
        Ok(UserView { statistics, recent_posts, ..view }.seen_by(viewer))
    }

    /// The user who has a username, in whatever spelling. Those that only look like it are others.
    pub(crate) async fn get_user_by_username(
        &self,
        username: &Username,
        viewer: impl Fn(UserId) -> Viewer,
        fields: &UserFields,
    ) -> Result<UserView> {
        let id = self.store.username_owner(username).await?.ok_or(UserRefused::NobodyNamed)?;
        let viewer = viewer(id);
        let seen = fields.seen_by(viewer).and(UserField::Username);
        let (view, statistics, recent_posts) = tokio::try_join!(
            self.store.user_view_fetch(id, &seen),
            self.statistics(id, viewer, fields),
            self.recent_posts(id, fields)
        )?;
        // Who has claimed it may have chosen another since.
        let view = view.filter(|view| {
            let present = view.username.clone().map(Username::from_row);
            present.is_some_and(|present| present.is_spelling_of(username))
        });
        let view = view.ok_or(UserRefused::NobodyNamed)?;
        Ok(UserView { statistics, recent_posts, ..view }.seen_by(viewer))
    }

    /// The user who has an e-mail address, for an admin or a service.
    pub(crate) async fn get_user_by_email(
        &self,
        email: &Email,
        viewer: impl Fn(UserId) -> Viewer,
        fields: &UserFields,
    ) -> Result<UserView> {
        let view = self.store.user_view_fetch_by_email(email.key(), fields).await?;
        let view = view.ok_or(UserRefused::NobodyAt)?;
        let viewer = viewer(view.id);
        let statistics = self.statistics(view.id, viewer, fields).await?;
        Ok(UserView { statistics, ..view }.seen_by(viewer))
    }

    /// Many users, in the order of these ids, of which each is there once.
    pub(crate) async fn batch_get_users(
        &self,
        ids: &[UserId],
        viewer: impl Fn(UserId) -> Viewer,
        fields: &UserFields,
    ) -> Result<Vec<UserView>> {
        let counted: Vec<UserId> = if fields.contains(UserField::Statistics) {
            ids.iter().copied().filter(|id| viewer(*id).sees(UserField::Statistics)).collect()
        } else {
            Vec::new()
        };
        // One statement for all: what somebody sees of any of them is asked for, and taken off the others.
        let seen = UserFields::of(
            UserField::ALL
                .into_iter()
                .filter(|field| fields.contains(*field) && ids.iter().any(|id| viewer(*id).sees(*field))),
        )
        .and(UserField::State);
        let views = self.store.user_view_list(ids, &seen);
        let (views, mut sums) = tokio::try_join!(views, self.statistics_of(&counted))?;
        let there = views.into_iter().filter(|view| view.is_there_for(viewer(view.id)));
        let mut views: HashMap<UserId, UserView> = there.map(|view| (view.id, view)).collect();
        let missing: Vec<UserId> = ids.iter().copied().filter(|id| !views.contains_key(id)).collect();
        if !missing.is_empty() {
            return Err(UserRefused::Missing(missing).into());
        }
        let view = |id: &UserId| {
            let statistics = counted.contains(id).then(|| sums.remove(id).unwrap_or_default());
            Some(UserView { statistics, ..views.remove(id)? }.seen_by(viewer(*id)))
        };
        Ok(ids.iter().filter_map(view).collect())
    }

    /// A user's sums, if they are wanted and for this viewer to see.
    async fn statistics(
        &self,
        id: UserId,
        viewer: Viewer,
        fields: &UserFields,
    ) -> Result<Option<OrderStatistics>> {
        if !viewer.sees(UserField::Statistics) || !fields.contains(UserField::Statistics) {
            return Ok(None);
        }
        self.store.statistics_fetch(id).await.map(Some)
    }

    /// The last posts of a user that everybody may read, if they are asked for.
    async fn recent_posts(&self, id: UserId, fields: &UserFields) -> Result<Vec<Post>> {
        if !fields.names(UserField::RecentPosts) {
            return Ok(Vec::new());
        }
        self.store.post_list(&PostsOf::Author(id), PostState::Published, None, RECENT_POSTS).await
    }

    async fn statistics_of(&self, ids: &[UserId]) -> Result<HashMap<UserId, OrderStatistics>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        self.store.statistics_list(ids).await
    }
}
