//! Who follows whom, and who likes which post: what makes or removes an edge has a file of its own; reading them is in
//! `read.rs`.

mod follow;
mod like;
mod read;
mod remove;
mod unfollow;
mod unlike;

pub(crate) use follow::FollowUser;
pub(crate) use like::LikePost;
pub(crate) use read::{BatchGetRelations, FollowPage, ListFollows, Listed, Relations};
pub(crate) use remove::{EDGES_MOST, Leaving};
pub(crate) use unfollow::UnfollowUser;
pub(crate) use unlike::UnlikePost;
