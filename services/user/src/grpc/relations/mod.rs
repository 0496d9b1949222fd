//! `user.v1.RelationService`: its handlers, and how what is refused about relations looks on the wire. What its messages say
//! is checked and made in `convert.rs`.

mod convert;

use api::refusal::Refusal;
use api::user::v1::relation_service_server::RelationService;
use api::user::v1::{
    BatchGetRelationsRequest, BatchGetRelationsResponse, ErrorReason, FollowUserRequest, FollowUserResponse,
    LikePostRequest, LikePostResponse, ListFollowersRequest, ListFollowersResponse, ListFollowingRequest,
    ListFollowingResponse, UnfollowUserRequest, UnfollowUserResponse, UnlikePostRequest, UnlikePostResponse,
};
use runtime::rpc::{accept, check, person, respond};
use tonic::{Code, Request, Response, Status};

use crate::app::App;
use crate::domain::relation::{FOLLOWS_MAX, RelationRefused};

/// The rpcs about who follows whom and who likes what.
#[derive(Debug, Clone)]
pub(super) struct Relations(pub(super) App);

#[tonic::async_trait]
impl RelationService for Relations {
    async fn follow_user(
        &self,
        request: Request<FollowUserRequest>,
    ) -> Result<Response<FollowUserResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::follow_user)?);
        let answer = self.0.follow_user(&call, caller, wish).await?;
        Ok(respond(answer, |follow| FollowUserResponse { follow: Some(follow.into()) }))
    }

    async fn unfollow_user(
        &self,
        request: Request<UnfollowUserRequest>,
    ) -> Result<Response<UnfollowUserResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::unfollow_user)?);
        let answer = self.0.unfollow_user(&call, caller, wish).await?;
        Ok(respond(answer, |_| UnfollowUserResponse {}))
    }

    async fn list_followers(
        &self,
        request: Request<ListFollowersRequest>,
    ) -> Result<Response<ListFollowersResponse>, Status> {
        let (wish, list) = check(&request, convert::list_followers)?;
        let (users, next_page_token) = convert::follow_page(self.0.list_follows(wish).await?, &list);
        Ok(Response::new(ListFollowersResponse { users, next_page_token }))
    }

    async fn list_following(
        &self,
        request: Request<ListFollowingRequest>,
    ) -> Result<Response<ListFollowingResponse>, Status> {
        let (wish, list) = check(&request, convert::list_following)?;
        let (users, next_page_token) = convert::follow_page(self.0.list_follows(wish).await?, &list);
        Ok(Response::new(ListFollowingResponse { users, next_page_token }))
    }

    async fn like_post(
        &self,
        request: Request<LikePostRequest>,
    ) -> Result<Response<LikePostResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::like_post)?);
        let answer = self.0.like_post(&call, caller, wish).await?;
        Ok(respond(answer, |like| LikePostResponse { like: Some(like.into()) }))
    }

    async fn unlike_post(
        &self,
        request: Request<UnlikePostRequest>,
    ) -> Result<Response<UnlikePostResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::unlike_post)?);
        let answer = self.0.unlike_post(&call, caller, wish).await?;
        Ok(respond(answer, |_| UnlikePostResponse {}))
    }

    async fn batch_get_relations(
        &self,
        request: Request<BatchGetRelationsRequest>,
    ) -> Result<Response<BatchGetRelationsResponse>, Status> {
        let (caller, wish) = (person(&request)?, check(&request, convert::batch_get_relations)?);
        let relations = self.0.batch_get_relations(caller, wish).await?;
        Ok(Response::new(relations.into()))
    }
}

impl From<&RelationRefused> for Refusal {
    fn from(refused: &RelationRefused) -> Self {
        match refused {
            RelationRefused::FollowLimit(id) => {
                Self::new(Code::FailedPrecondition, &ErrorReason::FollowLimit, refused.to_string())
                    .with("limit", FOLLOWS_MAX.to_string())
                    .precondition(
                        format!("users/{id}"),
                        format!("must follow fewer than {FOLLOWS_MAX} users"),
                    )
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
        let refused = RelationRefused::FollowLimit(UserId::from_uuid(uuid));
        let expected = seen(Code::FailedPrecondition, "FOLLOW_LIMIT", format!("users/{uuid}"));
        assert_eq!(wire(refused), expected);
    }
}
