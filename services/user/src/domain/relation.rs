//! Who follows whom, and who likes which post. Each is an edge with an id of its own: who follows or likes again after
//! having stopped makes another one.

use time::OffsetDateTime;
use types::{FollowId, LikeId, PostId, UserId};

/// How many one user follows at the most.
pub(crate) const FOLLOWS_MAX: i64 = 10_000;

/// Why an edge was not made, where neither the user nor the post that it leads to is why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RelationRefused {
    /// The user follows as many as one may.
    #[error("user {0} follows {FOLLOWS_MAX} users, which is the most")]
    FollowLimit(UserId),
}

/// Somebody follows somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Follow {
    pub(crate) id: FollowId,
    pub(crate) follower: UserId,
    /// Who is followed.
    pub(crate) followee: UserId,
    pub(crate) create_time: OffsetDateTime,
}

/// Somebody likes a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Like {
    pub(crate) id: LikeId,
    pub(crate) post: PostId,
    pub(crate) user: UserId,
    pub(crate) create_time: OffsetDateTime,
}

/// What a call is answered with after which somebody is not followed, whether they were before or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfollowed;

/// What a call is answered with after which a post is not liked, whether it was before or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unliked;

/// From which end follows are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FollowEnd {
    /// Whom this user follows.
    Follower(UserId),
    /// Who follows this user.
    Followee(UserId),
}

impl FollowEnd {
    /// The user at this end.
    pub(crate) const fn user(self) -> UserId {
        match self {
            Self::Follower(user) | Self::Followee(user) => user,
        }
    }

    /// The user at the other end.
    pub(crate) const fn other(self, follow: &Follow) -> UserId {
        match self {
            Self::Follower(_) => follow.followee,
            Self::Followee(_) => follow.follower,
        }
    }
}

/// What somebody is to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserRelation {
    pub(crate) user: UserId,
    /// Whether the caller follows them.
    pub(crate) following: bool,
    /// Whether they follow the caller.
    pub(crate) followed_by: bool,
}

/// What a post is to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PostRelation {
    pub(crate) post: PostId,
    pub(crate) liked: bool,
}
