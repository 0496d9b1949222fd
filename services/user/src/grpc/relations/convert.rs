//! The messages of `user.v1.RelationService` as the use cases know them, and back.

use std::str::FromStr;

use api::call::Rpc;
use api::page_token;
use api::user::v1::{
    self as wire, BatchGetRelationsRequest, BatchGetRelationsResponse, FollowUserRequest, LikePostRequest,
    ListFollowersRequest, ListFollowingRequest, UnfollowUserRequest, UnlikePostRequest,
};
use api::violations::{Violations, timestamp};
use types::{FollowId, InvalidId, UserId};
use uuid::Uuid;

use crate::app::relations::{
    BatchGetRelations, FollowPage, FollowUser, LikePost, ListFollows, Listed, Relations, UnfollowUser,
    UnlikePost,
};
use crate::domain::profile::HttpsUrl;
use crate::domain::relation::{Follow, FollowEnd, Like, PostRelation, UserRelation};

/// Users and posts together.
const IDS_MAX: usize = 100;

/// What a page token is good for: a method, a caller, a user.
pub(super) type ListOf = [String; 3];

pub(super) fn follow_user(v: &mut Violations, request: &FollowUserRequest) -> Option<FollowUser> {
    let followee = v.another_user("user_id", &request.user_id, "SAME_USER")?;
    Some(FollowUser { followee })
}

pub(super) fn unfollow_user(v: &mut Violations, request: &UnfollowUserRequest) -> Option<UnfollowUser> {
    let followee = v.another_user("user_id", &request.user_id, "SAME_USER")?;
    Some(UnfollowUser { followee })
}

pub(super) fn like_post(v: &mut Violations, request: &LikePostRequest) -> Option<LikePost> {
    let post = v.id("post_id", &request.post_id)?;
    Some(LikePost { post })
}

pub(super) fn unlike_post(v: &mut Violations, request: &UnlikePostRequest) -> Option<UnlikePost> {
    let post = v.id("post_id", &request.post_id)?;
    Some(UnlikePost { post })
}

pub(super) fn list_followers(
    v: &mut Violations,
    request: &ListFollowersRequest,
) -> Option<(ListFollows, ListOf)> {
    let user = v.user_or_caller("user_id", &request.user_id);
    let list = list_of::<ListFollowersRequest>(v.caller(), user);
    let (after, size) = page(v, &list, &request.page_token, request.page_size);
    Some((ListFollows { of: FollowEnd::Followee(user?), after: after?, size: size? }, list))
}

pub(super) fn list_following(
    v: &mut Violations,
    request: &ListFollowingRequest,
) -> Option<(ListFollows, ListOf)> {
    let user = v.user_or_caller("user_id", &request.user_id);
    let list = list_of::<ListFollowingRequest>(v.caller(), user);
    let (after, size) = page(v, &list, &request.page_token, request.page_size);
    Some((ListFollows { of: FollowEnd::Follower(user?), after: after?, size: size? }, list))
}

fn list_of<R: Rpc>(viewer: Option<UserId>, user: Option<UserId>) -> ListOf {
    let text = |id: Option<UserId>| id.as_ref().map(UserId::to_string).unwrap_or_default();
    [R::METHOD.to_owned(), text(viewer), text(user)]
}

fn as_texts(list: &ListOf) -> [&str; 3] {
    list.each_ref().map(String::as_str)
}

/// Where a page begins, and how long it is.
fn page(
    v: &mut Violations,
    list: &ListOf,
    token: &str,
    size: i32,
) -> (Option<Option<FollowId>>, Option<u32>) {
    let after = if token.is_empty() {
        Some(None)
    } else {
        let bytes = page_token::decode(&as_texts(list), token);
        let id = bytes.and_then(|bytes| Uuid::from_slice(&bytes).ok());
        id.map(|id| Some(FollowId::from_uuid(id)))
    };
    if after.is_none() {
        v.invalid_page_token();
    }
    (after, v.page_size(size))
}

pub(super) fn batch_get_relations(
    v: &mut Violations,
    request: &BatchGetRelationsRequest,
) -> Option<BatchGetRelations> {
    let (users, posts) = (request.user_ids.len(), request.post_ids.len());
    let left = IDS_MAX.checked_sub(users);
    match left {
        None => v.add("user_ids", "TOO_MANY", format!("must have at most {IDS_MAX} ids")),
        Some(left) if posts > left => {
            v.add("post_ids", "TOO_MANY", format!("must have at most {left} ids beside those of user_ids"));
        }
        Some(IDS_MAX) if posts == 0 => v.add("user_ids", "REQUIRED", "must have an id, if post_ids has none"),
        Some(_) => {}
    }
    if left.is_none_or(|left| posts > left) {
        return None;
    }
    let users = ids(v, "user_ids", &request.user_ids);
    let posts = ids(v, "post_ids", &request.post_ids);
    Some(BatchGetRelations { users: users?, posts: posts? })
}

fn ids<T: FromStr<Err = InvalidId> + PartialEq>(
    v: &mut Violations,
    field: &str,
    texts: &[String],
) -> Option<Vec<T>> {
    let mut ids: Vec<T> = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        let field = format!("{field}[{place}]");
        match v.id(&field, text) {
            Some(id) if ids.contains(&id) => v.add(&field, "DUPLICATE", "must name each one once"),
            Some(id) => ids.push(id),
            None => {}
        }
    }
    (ids.len() == texts.len()).then_some(ids)
}

/// The users of a page, and the token of the next one.
pub(super) fn follow_page(page: FollowPage, list: &ListOf) -> (Vec<wire::RelatedUser>, String) {
    let token = |id: FollowId| page_token::encode(&as_texts(list), id.uuid().as_bytes());
    let next = page.next.map(token).unwrap_or_default();
    (page.users.into_iter().map(wire::RelatedUser::from).collect(), next)
}

impl From<Listed> for wire::RelatedUser {
    fn from(listed: Listed) -> Self {
        let (user_id, follow_time) = (listed.user.to_string(), Some(timestamp(listed.since)));
        let Some(shown) = listed.shown else { return Self { user_id, follow_time, ..Self::default() } };
        let avatar_url = shown.profile.avatar_url.as_ref().map(HttpsUrl::as_str).unwrap_or_default();
        Self {
            user_id,
            avatar_url: avatar_url.to_owned(),
            display_name: shown.display_name.unwrap_or_default(),
            username: shown.username.unwrap_or_default(),
            follow_time,
        }
    }
}

impl From<Follow> for wire::Follow {
    fn from(follow: Follow) -> Self {
        Self {
            id: follow.id.to_string(),
            follower_id: follow.follower.to_string(),
            followee_id: follow.followee.to_string(),
            create_time: Some(timestamp(follow.create_time)),
        }
    }
}

impl From<Like> for wire::Like {
    fn from(like: Like) -> Self {
        Self {
            id: like.id.to_string(),
            post_id: like.post.to_string(),
            user_id: like.user.to_string(),
            create_time: Some(timestamp(like.create_time)),
        }
    }
}

impl From<Relations> for BatchGetRelationsResponse {
    fn from(relations: Relations) -> Self {
        let user = |relation: UserRelation| wire::UserRelation {
            user_id: relation.user.to_string(),
            following: relation.following,
            followed_by: relation.followed_by,
        };
        let post = |relation: PostRelation| wire::PostRelation {
            post_id: relation.post.to_string(),
            liked: relation.liked,
        };
        Self {
            users: relations.users.into_iter().map(user).collect(),
            posts: relations.posts.into_iter().map(post).collect(),
        }
    }
}
