//! Posts.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use api::update_mask::FieldMask;
use api::user::v1::{
    ArchivePostRequest, CreatePostRequest, DeletePostRequest, Post, PublishPostRequest,
    TransferAllPostsRequest, TransferPostRequest, UpdatePostRequest,
};
use testkit::ServiceName::User;
use testkit::client::request_id;
use tonic::Status;

use super::{Kind, prepared};
use crate::sweep::operation::{Changes, Doing, Measures, Operation, by};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, Way};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "CreatePost",
        commits: &[Commit::Transaction(User, "create_post")],
        way: Way::of(&["user"], &[]),
        moments: &[],
        prepare: |stage| prepared(async move { Ok(Create::new(stage)) }),
    },
    Kind {
        name: "UpdatePost",
        commits: &[Commit::Transaction(User, "update_post")],
        way: Way::of(&["user"], &[]),
        moments: &[],
        prepare: |stage| prepared(Update::new(stage)),
    },
    Kind {
        name: "TransferPost",
        commits: &[Commit::Transaction(User, "transfer_post")],
        way: Way::of(&["user"], &[]),
        moments: &[],
        prepare: |stage| prepared(Transfer::new(stage)),
    },
    Kind {
        name: "PublishPost",
        commits: &[Commit::Transaction(User, "publish_post")],
        way: Way::of(&["user"], &["user.counters"]),
        moments: &[],
        prepare: |stage| prepared(Publish::new(stage)),
    },
    Kind {
        name: "ArchivePost",
        commits: &[Commit::Transaction(User, "archive_post")],
        way: Way::of(&["user"], &["user.counters"]),
        moments: &[],
        prepare: |stage| prepared(Archive::new(stage)),
    },
    Kind {
        name: "DeletePost",
        commits: &[Commit::Transaction(User, "delete_post")],
        way: Way::of(&["user"], &["user.counters"]),
        moments: &[],
        prepare: |stage| prepared(Delete::new(stage)),
    },
    Kind {
        name: "TransferAllPosts",
        commits: &[Commit::Transaction(User, "transfer_all_posts")],
        way: Way::of(&["user"], &[]),
        moments: &[],
        prepare: |stage| prepared(TransferAll::new(stage)),
    },
];

fn a_post() -> CreatePostRequest {
    CreatePostRequest {
        request_id: request_id(),
        title: "Title".to_owned(),
        body: "Body".to_owned(),
        ..CreatePostRequest::default()
    }
}

async fn counts(stage: &Stage) -> Result<Measures> {
    let author = stage.user(&stage.market.buyer.user_id).await?;
    let friend = stage.user(&stage.friend.user_id).await?;
    Ok(vec![("posts of the author", author.post_count), ("posts of the friend", friend.post_count)])
}

pub(super) struct Create {
    stage: Arc<Stage>,
    request: CreatePostRequest,
}

impl Create {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        Self { stage, request: a_post() }
    }
}

impl Operation for Create {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let author = &self.stage.market.buyer.caller;
            Ok(format!("{:?}", author.posts().create_post(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(counts(&self.stage))
    }

    fn effect(&self) -> Changes {
        vec![("posts of the author", by(1)), ("events of user", by(1))]
    }
}

async fn written(stage: &Stage) -> Result<Post> {
    let created = stage.market.buyer.caller.posts().create_post(a_post()).await.context("CreatePost")?;
    created.into_inner().post.context("a post")
}

pub(super) struct Update {
    stage: Arc<Stage>,
    request: UpdatePostRequest,
}

impl Update {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let request = UpdatePostRequest {
            request_id: request_id(),
            post_id: written(&stage).await?.id,
            post: Some(Post { title: "Another title".to_owned(), ..Post::default() }),
            update_mask: Some(FieldMask { paths: vec!["title".to_owned()] }),
            etag: String::new(),
        };
        Ok(Self { stage, request })
    }
}

impl Operation for Update {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let author = &self.stage.market.buyer.caller;
            Ok(format!("{:?}", author.posts().update_post(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(counts(&self.stage))
    }

    fn effect(&self) -> Changes {
        vec![("events of user", by(1))]
    }
}

pub(super) struct Transfer {
    stage: Arc<Stage>,
    request: TransferPostRequest,
}

impl Transfer {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let request = TransferPostRequest {
            request_id: request_id(),
            post_id: written(&stage).await?.id,
            to_user_id: stage.friend.user_id.clone(),
            ..TransferPostRequest::default()
        };
        Ok(Self { stage, request })
    }
}

impl Operation for Transfer {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let author = &self.stage.market.buyer.caller;
            Ok(format!("{:?}", author.posts().transfer_post(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(counts(&self.stage))
    }

    fn effect(&self) -> Changes {
        vec![("posts of the author", by(-1)), ("posts of the friend", by(1)), ("events of user", by(1))]
    }
}

pub(super) struct Publish {
    stage: Arc<Stage>,
    request: PublishPostRequest,
}

impl Publish {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let post_id = written(&stage).await?.id;
        let request =
            PublishPostRequest { request_id: request_id(), post_id, ..PublishPostRequest::default() };
        Ok(Self { stage, request })
    }
}

impl Operation for Publish {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let author = &self.stage.market.buyer.caller;
            Ok(format!("{:?}", author.posts().publish_post(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(counts(&self.stage))
    }

    fn effect(&self) -> Changes {
        vec![("events of user", by(1))]
    }
}

pub(super) struct Archive {
    stage: Arc<Stage>,
    request: ArchivePostRequest,
}

impl Archive {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let post_id = written(&stage).await?.id;
        let publish = PublishPostRequest {
            request_id: request_id(),
            post_id: post_id.clone(),
            ..PublishPostRequest::default()
        };
        stage.market.buyer.caller.posts().publish_post(publish).await.context("PublishPost")?;
        let request =
            ArchivePostRequest { request_id: request_id(), post_id, ..ArchivePostRequest::default() };
        Ok(Self { stage, request })
    }
}

impl Operation for Archive {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let author = &self.stage.market.buyer.caller;
            Ok(format!("{:?}", author.posts().archive_post(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(counts(&self.stage))
    }

    fn effect(&self) -> Changes {
        vec![("events of user", by(1))]
    }
}

pub(super) struct Delete {
    stage: Arc<Stage>,
    request: DeletePostRequest,
}

impl Delete {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let post_id = written(&stage).await?.id;
        let request = DeletePostRequest { request_id: request_id(), post_id, ..DeletePostRequest::default() };
        Ok(Self { stage, request })
    }
}

impl Operation for Delete {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let author = &self.stage.market.buyer.caller;
            Ok(format!("{:?}", author.posts().delete_post(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(counts(&self.stage))
    }

    fn effect(&self) -> Changes {
        vec![("posts of the author", by(-1)), ("events of user", by(1))]
    }
}

/// As many as the author has: those of the cases before are among them.
pub(super) struct TransferAll {
    stage: Arc<Stage>,
    request: TransferAllPostsRequest,
    count: i64,
}

impl TransferAll {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        written(&stage).await?;
        let count = stage.user(&stage.market.buyer.user_id).await?.post_count;
        let request = TransferAllPostsRequest {
            request_id: request_id(),
            to_user_id: stage.friend.user_id.clone(),
            ..TransferAllPostsRequest::default()
        };
        Ok(Self { stage, request, count: count.min(100) })
    }
}

impl Operation for TransferAll {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let author = &self.stage.market.buyer.caller;
            Ok(format!("{:?}", author.posts().transfer_all_posts(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(counts(&self.stage))
    }

    fn effect(&self) -> Changes {
        vec![
            ("posts of the author", by(-self.count)),
            ("posts of the friend", by(self.count)),
            ("events of user", by(self.count)),
        ]
    }
}
