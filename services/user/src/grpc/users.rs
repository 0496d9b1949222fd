//! `user.v1.UserService`: its requests, its answers, and how what is refused about users looks on the wire.

use api::auth::v1::Role as WireRole;
use api::call::Changing as _;
use api::common::v1::ErrorReason as Common;
use api::refusal::Refusal;
use api::user::v1::user_service_server::UserService;
use api::user::v1::{
    self as wire, ChangeUserRoleRequest, ChangeUserRoleResponse, CreateUserRequest, CreateUserResponse,
    DeactivateUserRequest, DeactivateUserResponse, ErrorReason, GetUserRequest, GetUserResponse,
    SnapshotUsersRequest, SnapshotUsersResponse, VerifyPasswordRequest, VerifyPasswordResponse,
};
use api::violations::{Violations, timestamp};
use auth::Principal;
use futures_util::stream::{self, StreamExt as _};
use runtime::rpc::{self, Messages, accept, check, person, respond};
use tonic::{Code, Request, Response, Status};
use types::{Role, UserId};

use crate::app::App;
use crate::app::users::{ChangeUserRole, CreateUser, DeactivateUser, NewUser, VerifyPassword};
use crate::domain::email::Email;
use crate::domain::password::{Password, PasswordError};
use crate::domain::user::{OrderStatistics, Profile, User, UserRefused, UserState};
use crate::error::Error;

const DISPLAY_NAME_MAX: usize = 50;
/// Users in one message of a snapshot.
const SNAPSHOT_PAGE: u32 = 500;

/// The rpcs about users.
#[derive(Debug, Clone)]
pub(super) struct Users(pub(super) App);

#[tonic::async_trait]
impl UserService for Users {
    type SnapshotUsersStream = Messages<SnapshotUsersResponse>;

    async fn create_user(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserResponse>, Status> {
        let (call, wish) = accept(&request, create_user)?;
        let answer = self.0.create_user(&call, wish).await?;
        Ok(respond(answer, |profile| CreateUserResponse { user: Some(full(&profile)) }))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        let user_id = check(&request, get_user)?;
        let user = if sees_all(&Principal::of(&request), user_id) {
            full(&self.0.get_profile(user_id).await?)
        } else {
            public(&self.0.get_user(user_id).await?)
        };
        Ok(Response::new(GetUserResponse { user: Some(user) }))
    }

    async fn deactivate_user(
        &self,
        request: Request<DeactivateUserRequest>,
    ) -> Result<Response<DeactivateUserResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, deactivate_user)?);
        let answer = self.0.deactivate_user(&call, caller, wish).await?;
        Ok(respond(answer, |profile| DeactivateUserResponse { user: Some(full(&profile)) }))
    }

    async fn change_user_role(
        &self,
        request: Request<ChangeUserRoleRequest>,
    ) -> Result<Response<ChangeUserRoleResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, change_user_role)?);
        let answer = self.0.change_user_role(&call, caller, wish).await?;
        Ok(respond(answer, |profile| ChangeUserRoleResponse { user: Some(full(&profile)) }))
    }

    async fn verify_password(
        &self,
        request: Request<VerifyPasswordRequest>,
    ) -> Result<Response<VerifyPasswordResponse>, Status> {
        let login = self.0.verify_password(check(&request, verify_password)?).await?;
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
            let users = app.snapshot_page(after, SNAPSHOT_PAGE).await?;
            let Some(last) = users.last().map(|user| user.id) else { return Ok::<_, Error>(None) };
            let users = users.iter().map(for_read_model).collect();
            let page = SnapshotUsersResponse { users, ..SnapshotUsersResponse::default() };
            Ok(Some((page, (app, Some(last)))))
        });
        Ok(rpc::stream(stream::iter([Ok(first)]).chain(pages)))
    }
}

/// Whether the caller may see all of a user.
fn sees_all(principal: &Principal, user_id: UserId) -> bool {
    principal.service().is_some()
        || principal.is_admin()
        || principal.person().is_some_and(|person| person.user_id == user_id)
}

fn get_user(v: &mut Violations, request: &GetUserRequest) -> Option<UserId> {
    v.id("user_id", &request.user_id)
}

fn create_user(v: &mut Violations, request: &CreateUserRequest) -> Option<CreateUser> {
    let user = new_user(v, &request.email, &request.display_name, &request.password);
    user.map(|user| CreateUser { user, secret: CreateUserRequest::SECRET })
}

/// The first admin, under the rules for whoever signs up.
pub(crate) fn new_admin(email: &str, display_name: &str, password: &str) -> Result<NewUser, types::Failure> {
    let mut violations = Violations::new();
    let admin = new_user(&mut violations, email, display_name, password);
    violations.finish(admin)
}

fn new_user(v: &mut Violations, address: &str, display_name: &str, password: &str) -> Option<NewUser> {
    let email = email(v, address);
    let display_name = v.line("display_name", display_name, DISPLAY_NAME_MAX);
    let password = new_password(v, password, address);
    Some(NewUser { email: email?, display_name: display_name?, password: password? })
}

fn deactivate_user(v: &mut Violations, request: &DeactivateUserRequest) -> Option<DeactivateUser> {
    let user_id = v.id("user_id", &request.user_id);
    let etag = v.etag(&request.etag);
    Some(DeactivateUser { user_id: user_id?, etag: etag? })
}

fn change_user_role(v: &mut Violations, request: &ChangeUserRoleRequest) -> Option<ChangeUserRole> {
    let user_id = v.id("user_id", &request.user_id);
    let role = role(v, request.role);
    let etag = v.etag(&request.etag);
    Some(ChangeUserRole { user_id: user_id?, role: role?, etag: etag? })
}

/// Text that can be no address or no password is a wrong one, like any other that does not fit: a login does not tell
/// which rules there are.
fn verify_password(v: &mut Violations, request: &VerifyPasswordRequest) -> Option<VerifyPassword> {
    for (field, text) in [("email", &request.email), ("password", &request.password)] {
        if text.is_empty() {
            v.add(field, "REQUIRED", "must be set");
        }
    }
    let email = request.email.parse().ok();
    Some(VerifyPassword { email, password: Password::to_verify(request.password.clone()) })
}

/// An address that somebody may have.
fn email(v: &mut Violations, text: &str) -> Option<Email> {
    if text.is_empty() {
        v.add("email", "REQUIRED", "must be set");
        return None;
    }
    let email = text.parse().ok();
    if email.is_none() {
        v.add("email", "INVALID_EMAIL", "must be an e-mail address of at most 254 bytes");
    }
    email
}

fn new_password(v: &mut Violations, text: &str, email: &str) -> Option<Password> {
    let (reason, description) = match Password::new(text.to_owned(), email) {
        Ok(password) => return Some(password),
        Err(PasswordError::Missing) => ("REQUIRED", "must be set"),
        Err(PasswordError::Weak(why)) => ("WEAK_PASSWORD", why),
        Err(PasswordError::TooLong) => ("TOO_LONG", "must have at most 128 characters"),
    };
    v.add("password", reason, description);
    None
}

fn role(v: &mut Violations, number: i32) -> Option<Role> {
    let Ok(role) = WireRole::try_from(number) else {
        v.add("role", "UNKNOWN_ENUM_VALUE", "must be one of the roles");
        return None;
    };
    if role.known().is_none() {
        v.add("role", "REQUIRED", "must be set");
    }
    role.known()
}

/// A user as everybody may see one.
fn public(user: &User) -> wire::User {
    wire::User {
        id: user.id.to_string(),
        display_name: user.display_name.clone(),
        state: match user.state {
            UserState::Active => wire::user::State::Active,
            UserState::Deactivated => wire::user::State::Deactivated,
        }
        .into(),
        create_time: Some(timestamp(user.create_time)),
        update_time: Some(timestamp(user.update_time)),
        etag: user.version.to_string(),
        post_count: user.post_count,
        version: user.event_version,
        ..wire::User::default()
    }
}

/// A user for a service that keeps a read model: with what only some may see, without the sums of orders.
fn for_read_model(user: &User) -> wire::User {
    wire::User {
        email: user.email.address().to_owned(),
        role: WireRole::from(user.role).into(),
        ..public(user)
    }
}

/// A user with everything.
fn full(profile: &Profile) -> wire::User {
    wire::User { order_statistics: Some(profile.statistics.into()), ..for_read_model(&profile.user) }
}

impl From<OrderStatistics> for wire::OrderStatistics {
    fn from(sums: OrderStatistics) -> Self {
        Self {
            placed_count: sums.placed_count,
            paid_count: sums.paid_count,
            cancelled_count: sums.cancelled_count,
            owned_count: sums.owned_count,
        }
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
            // The address is not repeated: it is contact data.
            UserRefused::EmailTaken => {
                user(Code::AlreadyExists, ErrorReason::EmailTaken).resource("user", "")
            }
            UserRefused::Deactivated(id) => user(Code::FailedPrecondition, ErrorReason::UserDeactivated)
                .with("user_id", id.to_string())
                .precondition(format!("users/{id}"), "must be active"),
            UserRefused::OwnRole => user(Code::FailedPrecondition, ErrorReason::OwnRole)
                .precondition("role", "another admin has to change it"),
            UserRefused::InvalidCredentials => common(Code::Unauthenticated, Common::InvalidCredentials),
            UserRefused::VersionMismatch(id) => {
                common(Code::Aborted, Common::VersionMismatch).resource("user", id.to_string())
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
        let id = UserId::from_uuid(uuid);
        for (refused, expected) in [
            (UserRefused::NotFound(id), seen(Code::NotFound, "USER_NOT_FOUND", format!("user {uuid}"))),
            (UserRefused::EmailTaken, seen(Code::AlreadyExists, "EMAIL_TAKEN", "user ")),
            (
                UserRefused::Deactivated(id),
                seen(Code::FailedPrecondition, "USER_DEACTIVATED", format!("users/{uuid}")),
            ),
            (UserRefused::OwnRole, seen(Code::FailedPrecondition, "OWN_ROLE", "role")),
            (UserRefused::InvalidCredentials, seen(Code::Unauthenticated, "INVALID_CREDENTIALS", "")),
            (
                UserRefused::VersionMismatch(id),
                seen(Code::Aborted, "VERSION_MISMATCH", format!("user {uuid}")),
            ),
        ] {
            assert_eq!(wire(refused), expected, "{refused}");
        }
    }
}
