//! Reading users: by id, by name, by address, many at once. Everybody gets what they may see and want to.

use std::collections::HashMap;

use types::UserId;

use crate::app::App;
use crate::domain::counters::FollowCounts;
use crate::domain::email::Email;
use crate::domain::post::{Post, PostState, PostsOf};
use crate::domain::user::{OrderStatistics, UserRefused};
use crate::domain::user_view::{UserField, UserFields, UserView, Viewer};
use crate::domain::username::Username;
use crate::error::Result;

/// How many posts are shown with a user.
const RECENT_POSTS: u32 = 10;

/// What is kept beside a user and not in it.
struct Beside {
    statistics: Option<OrderStatistics>,
    follows: Option<FollowCounts>,
    recent_posts: Vec<Post>,
}

impl Beside {
    /// The user with it.
    fn with(self, view: UserView) -> UserView {
        let Self { statistics, follows, recent_posts } = self;
        UserView { statistics, follows, recent_posts, ..view }
    }
}

impl App {
    /// A user by id.
    pub(crate) async fn get_user(&self, id: UserId, viewer: Viewer, fields: &UserFields) -> Result<UserView> {
        let seen = fields.seen_by(viewer).and(UserField::State);
        let view = self.store.user_view_fetch(id, &seen);
        let beside = self.beside(id, viewer, fields);
        let (view, beside) = tokio::try_join!(view, beside)?;
        let view = view.filter(|view| view.is_there_for(viewer)).ok_or(UserRefused::NotFound(id))?;
        Ok(beside.with(view).seen_by(viewer))
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
        let view = self.store.user_view_fetch(id, &seen);
        let beside = self.beside(id, viewer, fields);
        let (view, beside) = tokio::try_join!(view, beside)?;
        // Who has claimed it may have chosen another since.
        let view = view.filter(|view| {
            let present = view.username.clone().map(Username::from_row);
            present.is_some_and(|present| present.is_spelling_of(username))
        });
        let view = view.ok_or(UserRefused::NobodyNamed)?;
        Ok(beside.with(view).seen_by(viewer))
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
        let beside = self.beside(view.id, viewer, fields).await?;
        Ok(beside.with(view).seen_by(viewer))
    }

    /// Many users, in the order of these ids, of which each is there once.
    pub(crate) async fn batch_get_users(
        &self,
        ids: &[UserId],
        viewer: impl Fn(UserId) -> Viewer,
        fields: &UserFields,
    ) -> Result<Vec<UserView>> {
        let counted = whose_sums(ids, &viewer, fields);
        // One statement for all: what somebody sees of any of them is asked for, and taken off the others.
        let seen = UserFields::of(
            UserField::ALL
                .into_iter()
                .filter(|field| fields.contains(*field) && ids.iter().any(|id| viewer(*id).sees(*field))),
        )
        .and(UserField::State);
        let views = self.store.user_view_list(ids, &seen);
        let (sums, follows) = (self.statistics_of(&counted), self.follows_of(ids, fields));
        let (views, mut sums, mut follows) = tokio::try_join!(views, sums, follows)?;
        let there = views.into_iter().filter(|view| view.is_there_for(viewer(view.id)));
        let mut views: HashMap<UserId, UserView> = there.map(|view| (view.id, view)).collect();
        let missing: Vec<UserId> = ids.iter().copied().filter(|id| !views.contains_key(id)).collect();
        if !missing.is_empty() {
            return Err(UserRefused::Missing(missing).into());
        }
        let view = |id: &UserId| {
            let statistics = counted.contains(id).then(|| sums.remove(id).unwrap_or_default());
            let follows = follows.as_mut().map(|follows| follows.remove(id).unwrap_or_default());
            Some(UserView { statistics, follows, ..views.remove(id)? }.seen_by(viewer(*id)))
        };
        Ok(ids.iter().filter_map(view).collect())
    }

    /// What is kept beside a user: the sums, if they are for this viewer to see, the counts and the last posts; each if it is
    /// wanted.
    async fn beside(&self, id: UserId, viewer: Viewer, fields: &UserFields) -> Result<Beside> {
        let ids = [id];
        let (statistics, follows, recent_posts) = tokio::try_join!(
            self.statistics(id, viewer, fields),
            self.follows_of(&ids, fields),
            self.recent_posts(id, fields)
        )?;
        let follows = follows.map(|mut follows| follows.remove(&id).unwrap_or_default());
        Ok(Beside { statistics, follows, recent_posts })
    }

    /// Users whose ids were not known before they were read, as somebody sees them.
    pub(super) async fn shown(
        &self,
        users: Vec<UserView>,
        viewer: impl Fn(UserId) -> Viewer,
        fields: &UserFields,
    ) -> Result<Vec<UserView>> {
        let ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
        let counted = whose_sums(&ids, &viewer, fields);
        let (mut sums, mut follows) =
            tokio::try_join!(self.statistics_of(&counted), self.follows_of(&ids, fields))?;
        let is_counted = !counted.is_empty();
        let shown = |user: UserView| {
            let statistics = is_counted.then(|| sums.remove(&user.id).unwrap_or_default());
            let follows = follows.as_mut().map(|follows| follows.remove(&user.id).unwrap_or_default());
            let viewer = viewer(user.id);
            UserView { statistics, follows, ..user }.seen_by(viewer)
        };
        Ok(users.into_iter().map(shown).collect())
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

    /// Who follows these users and whom they follow, if that is wanted. There is nothing of whom there is nothing to count.
    pub(super) async fn follows_of(
        &self,
        ids: &[UserId],
        fields: &UserFields,
    ) -> Result<Option<HashMap<UserId, FollowCounts>>> {
        if !fields.contains(UserField::Counts) {
            return Ok(None);
        }
        self.store.follow_counts(ids).await.map(Some)
    }
}

/// Of whom among these the sums of orders are wanted and for this viewer to see.
fn whose_sums(ids: &[UserId], viewer: impl Fn(UserId) -> Viewer, fields: &UserFields) -> Vec<UserId> {
    let is_wanted = fields.contains(UserField::Statistics);
    let are_seen = |id: &UserId| is_wanted && viewer(*id).sees(UserField::Statistics);
    ids.iter().copied().filter(are_seen).collect()
}
