//! `user.v1.PostService`.

use api::user::v1::post_service_server::PostService;
use api::user::v1::{
    CreatePostRequest, CreatePostResponse, GetPostRequest, GetPostResponse, TransferPostRequest,
    TransferPostResponse,
};
use tonic::{Request, Response, Status};

use super::call::respond;
use super::convert;
use crate::app::App;

/// The rpcs about posts.
#[derive(Debug, Clone)]
pub(super) struct Posts(pub(super) App);

#[tonic::async_trait]
impl PostService for Posts {
    async fn create_post(
        &self,
        request: Request<CreatePostRequest>,
    ) -> Result<Response<CreatePostResponse>, Status> {
        let create = convert::create_post(&request, "user.v1.PostService/CreatePost")?;
        let answer = self.0.create_post(create).await?;
        Ok(respond(answer, |post| CreatePostResponse { post: Some(post.into()) }))
    }

    async fn get_post(&self, request: Request<GetPostRequest>) -> Result<Response<GetPostResponse>, Status> {
        let post = self.0.get_post(convert::get_post(request.get_ref())?).await?;
        Ok(Response::new(GetPostResponse { post: Some(post.into()) }))
    }

    async fn transfer_post(
        &self,
        request: Request<TransferPostRequest>,
    ) -> Result<Response<TransferPostResponse>, Status> {
        let transfer = convert::transfer_post(&request, "user.v1.PostService/TransferPost")?;
        let answer = self.0.transfer_post(transfer).await?;
        Ok(respond(answer, |post| TransferPostResponse { post: Some(post.into()) }))
    }
}
