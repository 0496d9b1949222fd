//! `user.v1.PostService`: its handlers, and how what is refused about posts looks on the wire. What its messages say is
//! checked and made in `convert.rs`.

mod convert;

use api::common::v1::ErrorReason as Common;
use api::refusal::Refusal;
use api::user::v1::post_service_server::PostService;
use api::user::v1::{
    ArchivePostRequest, ArchivePostResponse, CreatePostRequest, CreatePostResponse, DeletePostRequest,
    DeletePostResponse, ErrorReason, GetPopularPostsRequest, GetPopularPostsResponse, GetPostBySlugRequest,
    GetPostBySlugResponse, GetPostRequest, GetPostResponse, ListPostsRequest, ListPostsResponse, PopularPost,
    PublishPostRequest, PublishPostResponse, RecordPostViewsRequest, RecordPostViewsResponse,
    TransferAllPostsRequest, TransferAllPostsResponse, TransferPostRequest, TransferPostResponse,
    UpdatePostRequest, UpdatePostResponse,
};
use auth::Principal;
use runtime::rpc::{accept, check, person, respond};
use tonic::{Code, Request, Response, Status};
use types::PostId;

use crate::app::App;
use crate::domain::post::{PostRefused, PostState};

/// The rpcs about posts.
#[derive(Debug, Clone)]
pub(super) struct Posts(pub(super) App);

#[tonic::async_trait]
impl PostService for Posts {
    async fn create_post(
        &self,
        request: Request<CreatePostRequest>,
    ) -> Result<Response<CreatePostResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::create_post)?);
        let answer = self.0.create_post(&call, caller, wish).await?;
        Ok(respond(answer, |post| CreatePostResponse { post: Some(post.into()) }))
    }

    async fn get_post(&self, request: Request<GetPostRequest>) -> Result<Response<GetPostResponse>, Status> {
        let (caller, post_id) = (Principal::of(&request), check(&request, convert::get_post)?);
        let post = self.0.get_post(&caller, post_id).await?;
        Ok(Response::new(GetPostResponse { post: Some(post.into()) }))
    }

    async fn get_post_by_slug(
        &self,
        request: Request<GetPostBySlugRequest>,
    ) -> Result<Response<GetPostBySlugResponse>, Status> {
        let (caller, address) = (Principal::of(&request), check(&request, convert::get_post_by_slug)?);
        let post = self.0.get_post_by_slug(&caller, address).await?;
        Ok(Response::new(GetPostBySlugResponse { post: Some(post.into()) }))
    }

    async fn list_posts(
        &self,
        request: Request<ListPostsRequest>,
    ) -> Result<Response<ListPostsResponse>, Status> {
        let (caller, wish) = (Principal::of(&request), check(&request, convert::list_posts)?);
        let list = convert::list_of(caller.person().map(|person| person.user_id), request.get_ref());
        let page = self.0.list_posts(&caller, wish).await?;
        Ok(Response::new(convert::post_page(page, &list)))
    }

    async fn update_post(
        &self,
        request: Request<UpdatePostRequest>,
    ) -> Result<Response<UpdatePostResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::update_post)?);
        let answer = self.0.update_post(&call, caller, wish).await?;
        Ok(respond(answer, |post| UpdatePostResponse { post: Some(post.into()) }))
    }

    async fn publish_post(
        &self,
        request: Request<PublishPostRequest>,
    ) -> Result<Response<PublishPostResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::publish_post)?);
        let answer = self.0.publish_post(&call, caller, wish).await?;
        Ok(respond(answer, |post| PublishPostResponse { post: Some(post.into()) }))
    }

    async fn archive_post(
        &self,
        request: Request<ArchivePostRequest>,
    ) -> Result<Response<ArchivePostResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::archive_post)?);
        let answer = self.0.archive_post(&call, caller, wish).await?;
        Ok(respond(answer, |post| ArchivePostResponse { post: Some(post.into()) }))
    }

    async fn delete_post(
        &self,
        request: Request<DeletePostRequest>,
    ) -> Result<Response<DeletePostResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::delete_post)?);
        let answer = self.0.delete_post(&call, caller, wish).await?;
        Ok(respond(answer, |_| DeletePostResponse {}))
    }

    async fn transfer_post(
        &self,
        request: Request<TransferPostRequest>,
    ) -> Result<Response<TransferPostResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::transfer_post)?);
        let answer = self.0.transfer_post(&call, caller, wish).await?;
        Ok(respond(answer, |post| TransferPostResponse { post: Some(post.into()) }))
    }

    async fn record_post_views(
        &self,
        request: Request<RecordPostViewsRequest>,
    ) -> Result<Response<RecordPostViewsResponse>, Status> {
        let (caller, post_ids) = (person(&request)?, check(&request, convert::record_post_views)?);
        self.0.record_post_views(caller, &post_ids)?;
        Ok(Response::new(RecordPostViewsResponse {}))
    }

    async fn get_popular_posts(
        &self,
        request: Request<GetPopularPostsRequest>,
    ) -> Result<Response<GetPopularPostsResponse>, Status> {
        let wish = check(&request, convert::get_popular_posts)?;
        let posts = self.0.get_popular_posts(wish).await?;
        Ok(Response::new(GetPopularPostsResponse {
            posts: posts.into_iter().map(PopularPost::from).collect(),
        }))
    }

    async fn transfer_all_posts(
        &self,
        request: Request<TransferAllPostsRequest>,
    ) -> Result<Response<TransferAllPostsResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::transfer_all_posts)?);
        let answer = self.0.transfer_all_posts(&call, caller, wish).await?;
        Ok(respond(answer, convert::handed_over))
    }
}

impl From<&PostRefused> for Refusal {
    fn from(refused: &PostRefused) -> Self {
        let post = |code, reason: ErrorReason| Self::new(code, &reason, refused.to_string());
        let of_state = |post_id: &PostId, state: PostState| {
            let description = format!("is {state}, which allows {}", state.allowed());
            post(Code::FailedPrecondition, ErrorReason::InvalidState)
                .with("state", state.as_str())
                .with("allowed", state.allowed())
                .precondition(format!("posts/{post_id}"), description)
        };
        match refused {
            PostRefused::NotFound(id) => {
                post(Code::NotFound, ErrorReason::PostNotFound).resource("post", id.to_string())
            }
            PostRefused::SlugNotFound(slug) => {
                post(Code::NotFound, ErrorReason::PostNotFound).resource("post", slug.clone())
            }
            PostRefused::NotAuthor(id) => {
                post(Code::PermissionDenied, ErrorReason::NotPostAuthor).with("post_id", id.to_string())
            }
            PostRefused::NotAuthorOfAll(id) => {
                post(Code::PermissionDenied, ErrorReason::NotPostAuthor).with("user_id", id.to_string())
            }
            PostRefused::SlugTaken(slug) => {
                post(Code::AlreadyExists, ErrorReason::SlugTaken).resource("post_slug", slug.clone())
            }
            PostRefused::SlugFixed { post_id, state } | PostRefused::InvalidState { post_id, state } => {
                of_state(post_id, *state)
            }
            PostRefused::VersionMismatch(id) => {
                Self::new(Code::Aborted, &Common::VersionMismatch, refused.to_string())
                    .resource("post", id.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use types::UserId;
    use uuid::Uuid;

    use super::super::tests::{seen, wire};
    use super::*;

    #[test]
    fn every_refusal_has_its_code_reason_and_detail() {
        let uuid = Uuid::from_u128(1);
        let (id, state) = (PostId::from_uuid(uuid), PostState::Archived);
        let slug = || "green-tea".to_owned();
        let in_state = || seen(Code::FailedPrecondition, "INVALID_STATE", format!("posts/{uuid}"));
        for (refused, expected) in [
            (PostRefused::NotFound(id), seen(Code::NotFound, "POST_NOT_FOUND", format!("post {uuid}"))),
            (PostRefused::SlugNotFound(slug()), seen(Code::NotFound, "POST_NOT_FOUND", "post green-tea")),
            (PostRefused::NotAuthor(id), seen(Code::PermissionDenied, "NOT_POST_AUTHOR", "")),
            (
                PostRefused::NotAuthorOfAll(UserId::from_uuid(uuid)),
                seen(Code::PermissionDenied, "NOT_POST_AUTHOR", ""),
            ),
            (PostRefused::SlugTaken(slug()), seen(Code::AlreadyExists, "SLUG_TAKEN", "post_slug green-tea")),
            (PostRefused::SlugFixed { post_id: id, state }, in_state()),
            (PostRefused::InvalidState { post_id: id, state }, in_state()),
            (
                PostRefused::VersionMismatch(id),
                seen(Code::Aborted, "VERSION_MISMATCH", format!("post {uuid}")),
            ),
        ] {
            assert_eq!(wire(refused.clone()), expected, "{refused}");
        }
    }
}
