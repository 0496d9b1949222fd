//! Going for ever, and what is removed afterwards.

use std::sync::Arc;

use anyhow::Result;
use api::user::v1::user::State;
use api::user::v1::{CreatePostRequest, DeleteUserRequest, ListPostsRequest};
use testkit::ServiceName::User;
use testkit::client::{PASSWORD, Person, request_id};
use tonic::Status;

use super::sessions::stream_of;
use super::{Kind, prepared};
use crate::sweep::operation::{Changes, Doing, Measures, Operation, by};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, OF_WHOM, Way};

pub(super) const KINDS: &[Kind] = &[Kind {
    name: "DeleteUser",
    commits: &[
        Commit::Transaction(User, "delete_user"),
        Commit::Transaction(User, "erase_posts"),
        Commit::Script("revoke_below"),
    ],
    way: Way::of(&["user", OF_WHOM], &["order.customers", "session.revocations"]),
    moments: &[],
    prepare: |stage| prepared(Leave::new(stage)),
}];

/// By an admin: the session of who is gone would not live to repeat it.
pub(super) struct Leave {
    stage: Arc<Stage>,
    whom: Person,
    request: DeleteUserRequest,
}

impl Leave {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let whom = stage.system.api.sign_up("Leaving").await?;
        let post = CreatePostRequest {
            request_id: request_id(),
            title: "Farewell".to_owned(),
            body: "Body".to_owned(),
            publish: true,
            ..CreatePostRequest::default()
        };
        whom.caller.posts().create_post(post).await?;
        let request = DeleteUserRequest {
            request_id: request_id(),
            user_id: whom.user_id.clone(),
            password: PASSWORD.to_owned(),
            delete_posts: true,
            etag: String::new(),
        };
        Ok(Self { stage, whom, request })
    }

    async fn posts(&self) -> Result<usize, Status> {
        let of = ListPostsRequest { author_id: self.whom.user_id.clone(), ..ListPostsRequest::default() };
        let listed = self.stage.system.admin.caller.posts().list_posts(of).await?;
        Ok(listed.into_inner().posts.len())
    }
}

impl Operation for Leave {
    /// Until what is removed afterwards is gone, too.
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let admin = &self.stage.system.admin.caller;
            let answer = admin.users().delete_user(self.request.clone()).await?.into_inner();
            match self.posts().await? {
                0 => Ok(format!("{answer:?}")),
                left => Err(Status::unavailable(format!("{left} posts are left"))),
            }
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async {
            let user = self.stage.user(&self.whom.user_id).await?;
            let sessions = self.stage.session_count(&self.whom.user_id).await?;
            Ok(vec![
                ("gone", i64::from(user.state() == State::Deleted)),
                ("version", user.version),
                ("sessions", sessions),
                ("posts", self.posts().await?.try_into()?),
                ("posts of the user", user.post_count),
            ])
        })
    }

    fn effect(&self) -> Changes {
        vec![
            ("gone", by(1)),
            ("version", by(1)),
            ("sessions", by(-1)),
            ("posts", by(-1)),
            ("posts of the user", by(-1)),
            ("events of user", by(2)),
        ]
    }

    fn part(&self) -> Option<String> {
        stream_of(&self.whom.user_id)
    }
}
