//! `user.v1.UserService`.

use std::pin::Pin;

use api::auth::v1::Role as WireRole;
use api::user::v1::user_service_server::UserService;
use api::user::v1::{
    ChangeUserRoleRequest, ChangeUserRoleResponse, CreateUserRequest, CreateUserResponse,
    DeactivateUserRequest, DeactivateUserResponse, GetUserRequest, GetUserResponse, SnapshotUsersRequest,
    SnapshotUsersResponse, VerifyPasswordRequest, VerifyPasswordResponse,
};
use auth::Principal;
use futures_util::stream::{self, Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::call::respond;
use super::convert;
use crate::app::App;
use crate::error::Error;

/// Users in one message of a snapshot.
const SNAPSHOT_PAGE: u32 = 500;

/// The rpcs about users.
#[derive(Debug, Clone)]
pub(super) struct Users(pub(super) App);

#[tonic::async_trait]
impl UserService for Users {
    type SnapshotUsersStream = Pin<Box<dyn Stream<Item = Result<SnapshotUsersResponse, Status>> + Send>>;

    async fn create_user(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserResponse>, Status> {
        let create = convert::create_user(&request, "user.v1.UserService/CreateUser")?;
        let answer = self.0.create_user(create).await?;
        Ok(respond(answer, |profile| CreateUserResponse { user: Some(convert::full(&profile)) }))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        let user_id = convert::get_user(request.get_ref())?;
        let user = if convert::sees_all(&Principal::of(&request), user_id) {
            convert::full(&self.0.get_profile(user_id).await?)
        } else {
            convert::public(&self.0.get_user(user_id).await?)
        };
        Ok(Response::new(GetUserResponse { user: Some(user) }))
    }

    async fn deactivate_user(
        &self,
        request: Request<DeactivateUserRequest>,
    ) -> Result<Response<DeactivateUserResponse>, Status> {
        let deactivate = convert::deactivate_user(&request, "user.v1.UserService/DeactivateUser")?;
        let answer = self.0.deactivate_user(deactivate).await?;
        Ok(respond(answer, |profile| DeactivateUserResponse { user: Some(convert::full(&profile)) }))
    }

    async fn change_user_role(
        &self,
        request: Request<ChangeUserRoleRequest>,
    ) -> Result<Response<ChangeUserRoleResponse>, Status> {
        let change = convert::change_user_role(&request, "user.v1.UserService/ChangeUserRole")?;
        let answer = self.0.change_user_role(change).await?;
        Ok(respond(answer, |profile| ChangeUserRoleResponse { user: Some(convert::full(&profile)) }))
    }

    async fn verify_password(
        &self,
        request: Request<VerifyPasswordRequest>,
    ) -> Result<Response<VerifyPasswordResponse>, Status> {
        let (email, password) = convert::verify_password(request.get_ref())?;
        let login = self.0.verify_password(email, password).await?;
        Ok(Response::new(VerifyPasswordResponse {
            user_id: login.user_id.to_string(),
            role: WireRole::from(login.role).into(),
            auth_epoch: login.auth_epoch,
        }))
    }

    async fn snapshot_users(
        &self,
        _request: Request<SnapshotUsersRequest>,
    ) -> Result<Response<Self::SnapshotUsersStream>, Status> {
        // The head first: what changes while the pages are read is in the stream above it.
        let head = self.0.snapshot_head().await?;
        let first = SnapshotUsersResponse {
            epoch: head.epoch.to_string(),
            position: head.position,
            event_id: head.event_id.map(|id| id.to_string()).unwrap_or_default(),
            users: Vec::new(),
        };
        let pages = stream::try_unfold((self.0.clone(), None), |(app, after)| async move {
            // In the middle of a stream the status' source would reach no log.
            let stopped = |error: &Error| {
                tracing::warn!(error = error as &dyn std::error::Error, "a snapshot of users has stopped");
            };
            let users = app.snapshot_page(after, SNAPSHOT_PAGE).await.inspect_err(stopped)?;
            let Some(last) = users.last().map(|user| user.id) else { return Ok(None) };
            let users = users.iter().map(convert::for_read_model).collect();
            let page = SnapshotUsersResponse { users, ..SnapshotUsersResponse::default() };
            Ok(Some((page, (app, Some(last)))))
        });
        let messages = stream::iter([Ok(first)]).chain(pages);
        Ok(Response::new(Box::pin(messages)))
    }
}
