//! `user.v1.PostService`: its requests, its answers, and how what is refused about posts looks on the wire.

use api::common::v1::ErrorReason as Common;
use api::refusal::Refusal;
use api::user::v1::post_service_server::PostService;
use api::user::v1::{
    self as wire, CreatePostRequest, CreatePostResponse, ErrorReason, GetPostRequest, GetPostResponse,
    TransferPostRequest, TransferPostResponse, UpdatePostRequest, UpdatePostResponse,
};
use api::violations::{Violations, timestamp};
use runtime::rpc::{accept, check, person, respond};
use tonic::{Code, Request, Response, Status};
use types::PostId;

use crate::app::App;
use crate::app::posts::{CreatePost, TransferPost, UpdatePost};
use crate::domain::post::{Post, PostRefused};

const TITLE_MAX: usize = 200;
/// Of four bytes each, these fit into one message.
const BODY_MAX: usize = 16_000;

/// The rpcs about posts.
#[derive(Debug, Clone)]
pub(super) struct Posts(pub(super) App);

#[tonic::async_trait]
impl PostService for Posts {
    async fn create_post(
        &self,
        request: Request<CreatePostRequest>,
    ) -> Result<Response<CreatePostResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, create_post)?);
        let answer = self.0.create_post(&call, caller, wish).await?;
        Ok(respond(answer, |post| CreatePostResponse { post: Some(post.into()) }))
    }

    async fn get_post(&self, request: Request<GetPostRequest>) -> Result<Response<GetPostResponse>, Status> {
        let post = self.0.get_post(check(&request, get_post)?).await?;
        Ok(Response::new(GetPostResponse { post: Some(post.into()) }))
    }

    async fn update_post(
        &self,
        request: Request<UpdatePostRequest>,
    ) -> Result<Response<UpdatePostResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, update_post)?);
        let answer = self.0.update_post(&call, caller, wish).await?;
        Ok(respond(answer, |post| UpdatePostResponse { post: Some(post.into()) }))
    }

    async fn transfer_post(
        &self,
        request: Request<TransferPostRequest>,
    ) -> Result<Response<TransferPostResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, transfer_post)?);
        let answer = self.0.transfer_post(&call, caller, wish).await?;
        Ok(respond(answer, |post| TransferPostResponse { post: Some(post.into()) }))
    }
}

fn create_post(v: &mut Violations, request: &CreatePostRequest) -> Option<CreatePost> {
    let title = v.line("title", &request.title, TITLE_MAX);
    let body = v.body("body", &request.body, BODY_MAX);
    Some(CreatePost { title: title?, body: body? })
}

fn get_post(v: &mut Violations, request: &GetPostRequest) -> Option<PostId> {
    v.id("post_id", &request.post_id)
}

fn update_post(v: &mut Violations, request: &UpdatePostRequest) -> Option<UpdatePost> {
    let post_id = v.id("post_id", &request.post_id);
    let mask = v.update_mask::<wire::Post>(request.update_mask.as_ref(), &["title", "body"]);
    let post = request.post.clone().unwrap_or_default();
    let title = mask.value("title", || v.line("post.title", &post.title, TITLE_MAX));
    let body = mask.value("body", || v.body("post.body", &post.body, BODY_MAX));
    let etag = v.etag(&request.etag);
    Some(UpdatePost { post_id: post_id?, title: title?, body: body?, etag: etag? })
}

fn transfer_post(v: &mut Violations, request: &TransferPostRequest) -> Option<TransferPost> {
    let post_id = v.id("post_id", &request.post_id);
    let to = v.another_user("to_user_id", &request.to_user_id, "SAME_USER");
    let etag = v.etag(&request.etag);
    Some(TransferPost { post_id: post_id?, to: to?, etag: etag? })
}

impl From<Post> for wire::Post {
    fn from(post: Post) -> Self {
        Self {
            id: post.id.to_string(),
            author_id: post.author_id.to_string(),
            title: post.title,
            body: post.body,
            create_time: Some(timestamp(post.create_time)),
            update_time: Some(timestamp(post.update_time)),
            etag: post.version.to_string(),
        }
    }
}

impl From<&PostRefused> for Refusal {
    fn from(refused: &PostRefused) -> Self {
        let text = refused.to_string();
        match refused {
            PostRefused::NotFound(id) => {
                Self::new(Code::NotFound, &ErrorReason::PostNotFound, text).resource("post", id.to_string())
            }
            PostRefused::NotAuthor(id) => {
                Self::new(Code::PermissionDenied, &ErrorReason::NotPostAuthor, text)
                    .with("post_id", id.to_string())
            }
            PostRefused::VersionMismatch(id) => {
                Self::new(Code::Aborted, &Common::VersionMismatch, text).resource("post", id.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::tests::{seen, wire};
    use super::*;

    #[test]
    fn every_refusal_has_its_code_reason_and_detail() {
        let uuid = Uuid::from_u128(1);
        let id = PostId::from_uuid(uuid);
        for (refused, expected) in [
            (PostRefused::NotFound(id), seen(Code::NotFound, "POST_NOT_FOUND", format!("post {uuid}"))),
            (PostRefused::NotAuthor(id), seen(Code::PermissionDenied, "NOT_POST_AUTHOR", "")),
            (
                PostRefused::VersionMismatch(id),
                seen(Code::Aborted, "VERSION_MISMATCH", format!("post {uuid}")),
            ),
        ] {
            assert_eq!(wire(refused), expected, "{refused}");
        }
    }
}
