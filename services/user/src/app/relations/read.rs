//! Lists of who follows whom, and what users and posts are to the caller.

use std::collections::HashMap;

use auth::Person;
use time::OffsetDateTime;
use types::{FollowId, PostId, Role, UserId};

use crate::app::App;
use crate::domain::relation::{FollowEnd, PostRelation, UserRelation};
use crate::domain::user::{UserRefused, UserState};
use crate::domain::user_view::{UserField, UserFields, UserView};
use crate::error::Result;

/// What a list shows of a user, and what decides whether it does.
const SHOWN: [UserField; 4] =
    [UserField::DisplayName, UserField::Username, UserField::AvatarUrl, UserField::State];

/// A page of whom somebody follows, or who follows somebody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListFollows {
    pub(crate) of: FollowEnd,
    /// The edge that the page before ended with.
    pub(crate) after: Option<FollowId>,
    pub(crate) size: u32,
}

/// Somebody in such a list.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) user: UserId,
    pub(crate) since: OffsetDateTime,
    /// What is shown of them, which is nothing of who is not active.
    pub(crate) shown: Option<UserView>,
}

/// What a page has.
#[derive(Debug)]
pub(crate) struct FollowPage {
    /// Newest edge first.
    pub(crate) users: Vec<Listed>,
    /// The edge that it ends with, if there is a next page.
    pub(crate) next: Option<FollowId>,
}

/// What shall be told of to the caller.
#[derive(Debug)]
pub(crate) struct BatchGetRelations {
    pub(crate) users: Vec<UserId>,
    pub(crate) posts: Vec<PostId>,
}

/// What users and posts are to the caller.
#[derive(Debug)]
pub(crate) struct Relations {
    pub(crate) users: Vec<UserRelation>,
    pub(crate) posts: Vec<PostRelation>,
}

impl App {
    /// A page of whom a user follows, or who follows the user. There are two statements in it, however long it is: the user
    /// whose list it is is looked for together with those who are in it.
    pub(crate) async fn list_follows(&self, wish: ListFollows) -> Result<FollowPage> {
        let ListFollows { of, after, size } = wish;
        let mut follows = self.store.follow_list(of, after, size + 1).await?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let has_more = follows.len() > size;
        follows.truncate(size);
        let next = follows.last().filter(|_| has_more).map(|follow| follow.id);
        let mut ids: Vec<UserId> = follows.iter().map(|follow| of.other(follow)).collect();
        ids.push(of.user());
        let views = self.store.user_view_list(&ids, &UserFields::of(SHOWN)).await?;
        let mut views: HashMap<UserId, UserView> = views.into_iter().map(|view| (view.id, view)).collect();
        let user = views.remove(&of.user()).filter(|view| view.state != Some(UserState::Deleted));
        user.ok_or(UserRefused::NotFound(of.user()))?;
        let users = follows.iter().map(|follow| {
            let user = of.other(follow);
            let shown = views.remove(&user).filter(|view| view.state == Some(UserState::Active));
            Listed { user, since: follow.create_time, shown }
        });
        Ok(FollowPage { users: users.collect(), next })
    }

    /// What users and posts are to the caller, in the order that they are asked for in. What is not there is nothing to
    /// anybody, and neither is a post that the caller may no longer read.
    pub(crate) async fn batch_get_relations(
        &self,
        caller: Person,
        wish: BatchGetRelations,
    ) -> Result<Relations> {
        let users = self.user_relations(caller, &wish.users);
        let posts = self.post_relations(caller, &wish.posts);
        let (users, posts) = tokio::try_join!(users, posts)?;
        Ok(Relations { users, posts })
    }

    async fn user_relations(&self, caller: Person, users: &[UserId]) -> Result<Vec<UserRelation>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let caller = caller.user_id;
        let follows = self.store.follow_list_between(caller, users).await?;
        let is_edge = |follower, followee| {
            follows.iter().any(|follow| (follow.follower, follow.followee) == (follower, followee))
        };
        let relation = |user: &UserId| UserRelation {
            user: *user,
            following: is_edge(caller, *user),
            followed_by: is_edge(*user, caller),
        };
        Ok(users.iter().map(relation).collect())
    }

    async fn post_relations(&self, caller: Person, posts: &[PostId]) -> Result<Vec<PostRelation>> {
        if posts.is_empty() {
            return Ok(Vec::new());
        }
        let likes = self.store.like_list_between(caller.user_id, posts).await?;
        let liked: Vec<PostId> = likes.iter().map(|like| like.post).collect();
        // It may have been archived since.
        let mut readable: Vec<PostId> = Vec::new();
        if !liked.is_empty() {
            let is_admin = caller.role == Role::Admin;
            let heads = self.store.post_head_list(&liked).await?;
            let heads = heads.iter().filter(|post| post.is_visible_to(caller.user_id, is_admin));
            readable.extend(heads.map(|post| post.id));
        }
        let relation = |post: &PostId| PostRelation { post: *post, liked: readable.contains(post) };
        Ok(posts.iter().map(relation).collect())
    }
}
