//! Who follows whom, and who likes what.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use api::user::v1::{
    BatchGetRelationsRequest, CreatePostRequest, DeletePostRequest, FollowUserRequest, LikePostRequest,
    UnfollowUserRequest, UnlikePostRequest,
};
use testkit::ServiceName::User;
use testkit::client::{Person, request_id};
use tonic::Status;

use super::{Kind, prepared};
use crate::streams::head;
use crate::sweep::operation::{Changes, Doing, Measures, Operation, by};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, Way};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "FollowUser",
        commits: &[Commit::Transaction(User, "follow_user")],
        way: Way::of(&["user"], &["user.counters"]),
        moments: &[],
        prepare: |stage| prepared(Follow::new(stage)),
    },
    Kind {
        name: "UnfollowUser",
        commits: &[Commit::Transaction(User, "unfollow_user")],
        way: Way::of(&["user"], &["user.counters"]),
        moments: &[],
        prepare: |stage| prepared(Unfollow::new(stage)),
    },
    Kind {
        name: "LikePost",
        commits: &[Commit::Transaction(User, "like_post")],
        way: Way::of(&["user"], &["user.counters"]),
        moments: &[],
        prepare: |stage| prepared(Like::new(stage)),
    },
    Kind {
        name: "UnlikePost",
        commits: &[Commit::Transaction(User, "unlike_post")],
        way: Way::of(&["user"], &["user.counters"]),
        moments: &[],
        prepare: |stage| prepared(Unlike::new(stage)),
    },
    Kind {
        name: "DeleteLikedPost",
        commits: &[Commit::Transaction(User, "remove_relations")],
        way: Way::of(&["user"], &["user.counters"]),
        moments: &[],
        prepare: |stage| prepared(DeleteLiked::new(stage)),
    },
];

/// The buyer, who follows and likes.
fn buyer(stage: &Stage) -> &Person {
    &stage.market.buyer
}

/// What the friend and a post are to the buyer.
async fn relations(stage: &Stage, post: Option<&str>) -> Result<Measures> {
    let request = BatchGetRelationsRequest {
        user_ids: vec![stage.friend.user_id.clone()],
        post_ids: post.map(str::to_owned).into_iter().collect(),
    };
    let relations = buyer(stage).caller.relations().batch_get_relations(request).await?.into_inner();
    let follows = relations.users.iter().filter(|user| user.following).count();
    let likes = relations.posts.iter().filter(|post| post.liked).count();
    Ok(vec![("follows", i64::try_from(follows)?), ("likes", i64::try_from(likes)?)])
}

fn follow(stage: &Stage) -> FollowUserRequest {
    FollowUserRequest { request_id: request_id(), user_id: stage.friend.user_id.clone() }
}

fn unfollow(stage: &Stage) -> UnfollowUserRequest {
    UnfollowUserRequest { request_id: request_id(), user_id: stage.friend.user_id.clone() }
}

/// A post of the friend that everybody reads.
async fn published(stage: &Stage) -> Result<String> {
    let request = CreatePostRequest {
        request_id: request_id(),
        title: "Title".to_owned(),
        body: "Body".to_owned(),
        publish: true,
        ..CreatePostRequest::default()
    };
    let post = stage.friend.caller.posts().create_post(request).await.context("CreatePost")?;
    Ok(post.into_inner().post.context("a post")?.id)
}

fn like(post_id: &str) -> LikePostRequest {
    LikePostRequest { request_id: request_id(), post_id: post_id.to_owned() }
}

struct Follow {
    stage: Arc<Stage>,
    request: FollowUserRequest,
}

impl Follow {
    async fn new(stage: Arc<Stage>) -> Result<Self> {
        let request = unfollow(&stage);
        buyer(&stage).caller.relations().unfollow_user(request).await.context("UnfollowUser")?;
        let request = follow(&stage);
        Ok(Self { stage, request })
    }
}

impl Operation for Follow {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let mut relations = buyer(&self.stage).caller.relations();
            Ok(format!("{:?}", relations.follow_user(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(relations(&self.stage, None))
    }

    fn effect(&self) -> Changes {
        vec![("follows", by(1)), ("events of user", by(1))]
    }
}

struct Unfollow {
    stage: Arc<Stage>,
    request: UnfollowUserRequest,
}

impl Unfollow {
    async fn new(stage: Arc<Stage>) -> Result<Self> {
        let request = follow(&stage);
        buyer(&stage).caller.relations().follow_user(request).await.context("FollowUser")?;
        let request = unfollow(&stage);
        Ok(Self { stage, request })
    }
}

impl Operation for Unfollow {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let mut relations = buyer(&self.stage).caller.relations();
            Ok(format!("{:?}", relations.unfollow_user(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(relations(&self.stage, None))
    }

    fn effect(&self) -> Changes {
        vec![("follows", by(-1)), ("events of user", by(1))]
    }
}

struct Like {
    stage: Arc<Stage>,
    request: LikePostRequest,
}

impl Like {
    async fn new(stage: Arc<Stage>) -> Result<Self> {
        let request = like(&published(&stage).await?);
        Ok(Self { stage, request })
    }
}

impl Operation for Like {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let mut relations = buyer(&self.stage).caller.relations();
            Ok(format!("{:?}", relations.like_post(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(relations(&self.stage, Some(&self.request.post_id)))
    }

    fn effect(&self) -> Changes {
        vec![("likes", by(1)), ("events of user", by(1))]
    }
}

struct Unlike {
    stage: Arc<Stage>,
    request: UnlikePostRequest,
}

impl Unlike {
    async fn new(stage: Arc<Stage>) -> Result<Self> {
        let post_id = published(&stage).await?;
        buyer(&stage).caller.relations().like_post(like(&post_id)).await.context("LikePost")?;
        let request = UnlikePostRequest { request_id: request_id(), post_id };
        Ok(Self { stage, request })
    }
}

impl Operation for Unlike {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let mut relations = buyer(&self.stage).caller.relations();
            Ok(format!("{:?}", relations.unlike_post(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(relations(&self.stage, Some(&self.request.post_id)))
    }

    fn effect(&self) -> Changes {
        vec![("likes", by(-1)), ("events of user", by(1))]
    }
}

/// The service removes the like by itself, some time after the answer.
struct DeleteLiked {
    stage: Arc<Stage>,
    request: DeletePostRequest,
    /// Where the stream stands when both events are there.
    end: i64,
}

impl DeleteLiked {
    async fn new(stage: Arc<Stage>) -> Result<Self> {
        let post_id = published(&stage).await?;
        buyer(&stage).caller.relations().like_post(like(&post_id)).await.context("LikePost")?;
        stage.system.at_rest().await?;
        let end = head(&stage.system.admin.caller, "user").await?.position + 2;
        let request = DeletePostRequest { request_id: request_id(), post_id, ..DeletePostRequest::default() };
        Ok(Self { stage, request, end })
    }
}

impl Operation for DeleteLiked {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let deleted = self.stage.friend.caller.posts().delete_post(self.request.clone()).await?;
            let open = |what: &str| Status::unknown(what.to_owned());
            let head = head(&self.stage.system.admin.caller, "user").await;
            match head.map_err(|error| open(&format!("{error:#}")))?.position {
                position if position < self.end => Err(open("the post is still liked")),
                _ => Ok(format!("{:?}", deleted.into_inner())),
            }
        })
    }

    fn effect(&self) -> Changes {
        vec![("events of user", by(2))]
    }
}
