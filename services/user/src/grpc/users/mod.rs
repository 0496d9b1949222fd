//! `user.v1.UserService`: its requests, its answers, and how what is refused about users looks on the wire.

mod answer;
mod changes;
mod convert;
mod lists;
mod tokens;

use api::auth::v1::Role as WireRole;
use api::common::v1::ErrorReason as Common;
use api::refusal::Refusal;
use api::user::v1::user_service_server::UserService;
use api::user::v1::{
    BatchGetUsersRequest, BatchGetUsersResponse, ChangeEmailRequest, ChangeEmailResponse,
    ChangePasswordRequest, ChangePasswordResponse, ChangeUserRoleRequest, ChangeUserRoleResponse,
    CreateUserRequest, CreateUserResponse, DeactivateUserRequest, DeactivateUserResponse, DeleteUserRequest,
    DeleteUserResponse, ErrorReason, GetUserByEmailRequest, GetUserByEmailResponse, GetUserByUsernameRequest,
    GetUserByUsernameResponse, GetUserRequest, GetUserResponse, ListUserChangesRequest,
    ListUserChangesResponse, ListUsersRequest, ListUsersResponse, ReactivateUserRequest,
    ReactivateUserResponse, ResetPasswordRequest, ResetPasswordResponse, SearchUsersRequest,
    SearchUsersResponse, SnapshotUsersRequest, SnapshotUsersResponse, StreamUsersRequest,
    StreamUsersResponse, UpdateUserRequest, UpdateUserResponse, VerifyPasswordRequest,
    VerifyPasswordResponse,
};
use auth::Principal;
use futures_util::stream::{self, StreamExt as _};
use runtime::rpc::{self, Messages, accept, check, person, respond};
use tonic::{Code, Request, Response, Status};
use types::UserId;

use crate::app::App;
use crate::app::users::StreamUsers;
use crate::clients::order::OrderClient;
use crate::domain::leaving::Left;
use crate::domain::user::UserRefused;
use crate::error::Error;
use answer::{fields, own, shown, viewer};
pub(crate) use convert::new_admin;

/// The rpcs about users.
#[derive(Debug, Clone)]
pub(super) struct Users(pub(super) App, pub(super) OrderClient);

#[tonic::async_trait]
impl UserService for Users {
    type SnapshotUsersStream = Messages<SnapshotUsersResponse>;
    type StreamUsersStream = Messages<StreamUsersResponse>;

    async fn create_user(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserResponse>, Status> {
        let (call, wish) = accept(&request, convert::create_user)?;
        let answer = self.0.create_user(&call, wish).await?;
        Ok(respond(answer, |whole| CreateUserResponse { user: Some(own(&whole)) }))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        let (user_id, mask) = check(&request, convert::get_user)?;
        let viewer = viewer(&Principal::of(&request), user_id);
        let user = self.0.get_user(user_id, viewer, &fields(&mask)).await?;
        Ok(Response::new(GetUserResponse { user: Some(mask.cut(user.into())) }))
    }

    async fn get_user_by_username(
        &self,
        request: Request<GetUserByUsernameRequest>,
    ) -> Result<Response<GetUserByUsernameResponse>, Status> {
        let (username, mask) = check(&request, convert::get_user_by_username)?;
        let principal = Principal::of(&request);
        let as_whom = |user_id| viewer(&principal, user_id);
        let user = self.0.get_user_by_username(&username, as_whom, &fields(&mask)).await?;
        Ok(Response::new(GetUserByUsernameResponse { user: Some(mask.cut(user.into())) }))
    }

    async fn get_user_by_email(
        &self,
        request: Request<GetUserByEmailRequest>,
    ) -> Result<Response<GetUserByEmailResponse>, Status> {
        let (email, mask) = check(&request, convert::get_user_by_email)?;
        let principal = Principal::of(&request);
        let as_whom = |user_id| viewer(&principal, user_id);
        let user = self.0.get_user_by_email(&email, as_whom, &fields(&mask)).await?;
        Ok(Response::new(GetUserByEmailResponse { user: Some(mask.cut(user.into())) }))
    }

    async fn batch_get_users(
        &self,
        request: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        let (ids, mask) = check(&request, convert::batch_get_users)?;
        let principal = Principal::of(&request);
        let as_whom = |user_id| viewer(&principal, user_id);
        let users = self.0.batch_get_users(&ids, as_whom, &fields(&mask)).await?;
        let users = users.into_iter().map(|user| mask.cut(user.into())).collect();
        Ok(Response::new(BatchGetUsersResponse { users }))
    }

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        let (wish, mask) = check(&request, lists::list_users)?;
        let principal = Principal::of(&request);
        let as_whom = |user_id| viewer(&principal, user_id);
        let page = self.0.list_users(&wish, as_whom, &fields(&mask)).await?;
        let caller = principal.person().map(|person| person.user_id);
        Ok(Response::new(lists::user_page(page, &wish, &mask, caller)))
    }

    async fn search_users(
        &self,
        request: Request<SearchUsersRequest>,
    ) -> Result<Response<SearchUsersResponse>, Status> {
        let (caller, (wish, mask)) = (person(&request)?, check(&request, lists::search_users)?);
        let page = self.0.search_users(&wish, &fields(&mask)).await?;
        Ok(Response::new(lists::found_page(page, &wish, &mask, Some(caller.user_id))))
    }

    async fn stream_users(
        &self,
        request: Request<StreamUsersRequest>,
    ) -> Result<Response<Self::StreamUsersStream>, Status> {
        let (StreamUsers { filter, after }, mask) = check(&request, lists::stream_users)?;
        let principal = Principal::of(&request);
        let walk = self.0.begin_walk(after).await?;
        let begin = walk.map(|walk| (self.0.clone(), walk));
        // Each message is made when the one before was sent: a client that reads slowly has nothing wait for it here, and
        // for one that is gone nothing more is read.
        let messages = stream::try_unfold(begin, move |at| {
            let (principal, filter, mask) = (principal.clone(), filter.clone(), mask.clone());
            async move {
                let Some((app, mut walk)) = at else { return Ok::<_, Error>(None) };
                let as_whom = |user_id| viewer(&principal, user_id);
                let Some(batch) = app.stream_on(&mut walk, &filter, as_whom, &fields(&mask)).await? else {
                    return Ok(None);
                };
                let caller = principal.person().map(|person| person.user_id);
                Ok(Some((lists::batch(batch, &filter, &mask, caller), Some((app, walk)))))
            }
        });
        Ok(rpc::stream(messages))
    }

    async fn update_user(
        &self,
        request: Request<UpdateUserRequest>,
    ) -> Result<Response<UpdateUserResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::update_user)?);
        let answer = self.0.update_user(&call, caller, wish).await?;
        Ok(respond(answer, |whole| UpdateUserResponse {
            user: Some(shown(&Principal::of(&request), &whole)),
        }))
    }

    async fn deactivate_user(
        &self,
        request: Request<DeactivateUserRequest>,
    ) -> Result<Response<DeactivateUserResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::deactivate_user)?);
        let answer = self.0.deactivate_user(&call, caller, wish).await?;
        Ok(respond(answer, |whole| DeactivateUserResponse {
            user: Some(shown(&Principal::of(&request), &whole)),
        }))
    }

    async fn delete_user(
        &self,
        request: Request<DeleteUserRequest>,
    ) -> Result<Response<DeleteUserResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::delete_user)?);
        let answer = self.0.delete_user(&self.1, &call, caller, &wish).await?;
        Ok(respond(answer, |_| DeleteUserResponse {}))
    }

    async fn reactivate_user(
        &self,
        request: Request<ReactivateUserRequest>,
    ) -> Result<Response<ReactivateUserResponse>, Status> {
        let (call, wish) = accept(&request, convert::reactivate_user)?;
        let answer = self.0.reactivate_user(&call, wish).await?;
        Ok(respond(answer, |whole| ReactivateUserResponse {
            user: Some(shown(&Principal::of(&request), &whole)),
        }))
    }

    async fn change_email(
        &self,
        request: Request<ChangeEmailRequest>,
    ) -> Result<Response<ChangeEmailResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::change_email)?);
        let answer = self.0.change_email(&call, caller, wish).await?;
        Ok(respond(answer, |whole| ChangeEmailResponse { user: Some(own(&whole)) }))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::change_password)?);
        let answer = self.0.change_password(&call, caller, wish).await?;
        Ok(respond(answer, |whole| ChangePasswordResponse { user: Some(own(&whole)) }))
    }

    async fn reset_password(
        &self,
        request: Request<ResetPasswordRequest>,
    ) -> Result<Response<ResetPasswordResponse>, Status> {
        let (call, wish) = accept(&request, convert::reset_password)?;
        let answer = self.0.reset_password(&call, wish).await?;
        Ok(respond(answer, |whole| ResetPasswordResponse {
            user: Some(shown(&Principal::of(&request), &whole)),
        }))
    }

    async fn change_user_role(
        &self,
        request: Request<ChangeUserRoleRequest>,
    ) -> Result<Response<ChangeUserRoleResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, convert::change_user_role)?);
        let answer = self.0.change_user_role(&call, caller, wish).await?;
        Ok(respond(answer, |whole| ChangeUserRoleResponse {
            user: Some(shown(&Principal::of(&request), &whole)),
        }))
    }

    async fn list_user_changes(
        &self,
        request: Request<ListUserChangesRequest>,
    ) -> Result<Response<ListUserChangesResponse>, Status> {
        let (caller, wish) = (person(&request)?, check(&request, changes::list_user_changes)?);
        let found = self.0.list_user_changes(wish).await?;
        Ok(Response::new(changes::page(found, caller.user_id, &wish)))
    }

    async fn verify_password(
        &self,
        request: Request<VerifyPasswordRequest>,
    ) -> Result<Response<VerifyPasswordResponse>, Status> {
        let login = self.0.verify_password(check(&request, convert::verify_password)?).await?;
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
        let walk = self.0.begin_walk(None).await?;
        let begin = walk.map(|walk| (self.0.clone(), walk));
        let pages = stream::try_unfold(begin, |at| async move {
            let Some((app, mut walk)) = at else { return Ok::<_, Error>(None) };
            let Some(users) = app.snapshot_on(&mut walk).await? else { return Ok(None) };
            let users = users.into_iter().map(Into::into).collect();
            let page = SnapshotUsersResponse { users, ..SnapshotUsersResponse::default() };
            Ok(Some((page, Some((app, walk)))))
        });
        Ok(rpc::stream(stream::iter([Ok(first)]).chain(pages)))
    }
}

impl From<&UserRefused> for Refusal {
    fn from(refused: &UserRefused) -> Self {
        let user = |code, reason: ErrorReason| Self::new(code, &reason, refused.to_string());
        let common = |code, reason: Common| Self::new(code, &reason, refused.to_string());
        match refused {
            UserRefused::NotFound(id) => {
                user(Code::NotFound, ErrorReason::UserNotFound).resource("user", id.to_string())
            }
            UserRefused::Missing(ids) => {
                let all: Vec<String> = ids.iter().map(ToString::to_string).collect();
                let first = all.first().cloned().unwrap_or_default();
                user(Code::NotFound, ErrorReason::UserNotFound)
                    .with("user_ids", all.join(","))
                    .resource("user", first)
            }
            UserRefused::NobodyAt | UserRefused::NobodyNamed => {
                user(Code::NotFound, ErrorReason::UserNotFound).resource("user", "")
            }
            // The address is not repeated: it is contact data.
            UserRefused::EmailTaken => {
                user(Code::AlreadyExists, ErrorReason::EmailTaken).resource("user", "")
            }
            UserRefused::UsernameTaken => {
                user(Code::AlreadyExists, ErrorReason::UsernameTaken).resource("user", "")
            }
            UserRefused::Deactivated(id) => user(Code::FailedPrecondition, ErrorReason::UserDeactivated)
                .with("user_id", id.to_string())
                .precondition(format!("users/{id}"), "must be active"),
            UserRefused::Active(id) => user(Code::FailedPrecondition, ErrorReason::UserActive)
                .with("user_id", id.to_string())
                .precondition(format!("users/{id}"), "must be deactivated"),
            UserRefused::HasBalance { user_id, left } => left.iter().map(|left| still(*user_id, left)).fold(
                user(Code::FailedPrecondition, ErrorReason::UserHasBalance)
                    .with("user_id", user_id.to_string()),
                |refusal, (subject, description)| refusal.precondition(subject, description),
            ),
            UserRefused::OwnRole => user(Code::FailedPrecondition, ErrorReason::OwnRole)
                .precondition("role", "another admin has to change it"),
            UserRefused::InvalidCredentials => common(Code::Unauthenticated, Common::InvalidCredentials),
            UserRefused::VersionMismatch(id) => {
                common(Code::Aborted, Common::VersionMismatch).resource("user", id.to_string())
            }
        }
    }
}

/// What somebody still has, and how much of it.
fn still(user_id: UserId, left: &Left) -> (String, String) {
    let (what, how_much) = match left {
        Left::Wallet { balance, held, incoming } => (
            format!("wallets/{}", balance.currency),
            format!("balance {}, held {held}, incoming {incoming}", balance.minor_units),
        ),
        Left::Bought(count) => ("orders/bought".to_owned(), format!("{count} open")),
        Left::Sold(count) => ("orders/sold".to_owned(), format!("{count} open")),
        Left::RunningTransfers(count) => ("transfers".to_owned(), format!("{count} running")),
        Left::Account(balance) => {
            (format!("accounts/{}", balance.currency), format!("balance {}", balance.minor_units))
        }
    };
    (format!("users/{user_id}/{what}"), how_much)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::tests::{seen, wire};
    use super::*;

    #[test]
    fn every_refusal_has_its_code_reason_and_detail() {
        let uuid = Uuid::from_u128(1);
        let id = UserId::from_uuid(uuid);
        for (refused, expected) in [
            (UserRefused::NotFound(id), seen(Code::NotFound, "USER_NOT_FOUND", format!("user {uuid}"))),
            (
                UserRefused::Missing(vec![id, UserId::from_uuid(Uuid::from_u128(2))]),
                seen(Code::NotFound, "USER_NOT_FOUND", format!("user {uuid}")),
            ),
            (UserRefused::NobodyAt, seen(Code::NotFound, "USER_NOT_FOUND", "user ")),
            (UserRefused::NobodyNamed, seen(Code::NotFound, "USER_NOT_FOUND", "user ")),
            (UserRefused::EmailTaken, seen(Code::AlreadyExists, "EMAIL_TAKEN", "user ")),
            (UserRefused::UsernameTaken, seen(Code::AlreadyExists, "USERNAME_TAKEN", "user ")),
            (
                UserRefused::Deactivated(id),
                seen(Code::FailedPrecondition, "USER_DEACTIVATED", format!("users/{uuid}")),
            ),
            (UserRefused::Active(id), seen(Code::FailedPrecondition, "USER_ACTIVE", format!("users/{uuid}"))),
            (
                UserRefused::HasBalance { user_id: id, left: vec![Left::Sold(2)] },
                seen(Code::FailedPrecondition, "USER_HAS_BALANCE", format!("users/{uuid}/orders/sold")),
            ),
            (UserRefused::OwnRole, seen(Code::FailedPrecondition, "OWN_ROLE", "role")),
            (UserRefused::InvalidCredentials, seen(Code::Unauthenticated, "INVALID_CREDENTIALS", "")),
            (
                UserRefused::VersionMismatch(id),
                seen(Code::Aborted, "VERSION_MISMATCH", format!("user {uuid}")),
            ),
        ] {
            let text = refused.to_string();
            assert_eq!(wire(refused), expected, "{text}");
        }
    }
}
