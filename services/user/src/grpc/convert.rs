//! Between protobuf and our types. Requests are checked here, every field at once.

use api::auth::v1::Role as WireRole;
use api::user::v1 as wire;
use api::violations::{Violations, timestamp};
use auth::{Person, Principal};
use tonic::Request;
use types::{PostId, Role, UserId};

use super::call::{idempotency, person};
use crate::app::{ChangeUserRole, CreatePost, CreateUser, DeactivateUser, PASSWORD_FIELD, TransferPost};
use crate::domain::email::Email;
use crate::domain::password::{Password, PasswordError};
use crate::domain::post::Post;
use crate::domain::user::{OrderStatistics, Profile, User, UserState};
use crate::error::{Error, Result};

const DISPLAY_NAME_MAX: usize = 50;
const TITLE_MAX: usize = 200;
/// Of four bytes each, these fit into one message.
const BODY_MAX: usize = 16_000;

/// Whether the caller may see all of a user.
pub(super) fn sees_all(principal: &Principal, user_id: UserId) -> bool {
    principal.service().is_some()
        || principal.is_admin()
        || principal.person().is_some_and(|person| person.user_id == user_id)
}

/// A user as everybody may see one.
pub(super) fn public(user: &User) -> wire::User {
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
pub(super) fn for_read_model(user: &User) -> wire::User {
    wire::User {
        email: user.email.address().to_owned(),
        role: WireRole::from(user.role).into(),
        ..public(user)
    }
}

/// A user with everything.
pub(super) fn full(profile: &Profile) -> wire::User {
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

/// The id of `GetUser`.
pub(super) fn get_user(request: &wire::GetUserRequest) -> Result<UserId> {
    let mut violations = Violations::new();
    let user_id = violations.id("user_id", &request.user_id);
    violations.finish(user_id).map_err(Error::Invalid)
}

/// The id of `GetPost`.
pub(super) fn get_post(request: &wire::GetPostRequest) -> Result<PostId> {
    let mut violations = Violations::new();
    let post_id = violations.id("post_id", &request.post_id);
    violations.finish(post_id).map_err(Error::Invalid)
}

/// A checked `CreateUser`.
pub(super) fn create_user(
    request: &Request<wire::CreateUserRequest>,
    method: &'static str,
) -> Result<CreateUser> {
    let message = request.get_ref();
    let mut violations = Violations::new();
    let request_id = violations.request_id(&message.request_id);
    let email = email(&mut violations, &message.email);
    let display_name = violations.line("display_name", &message.display_name, DISPLAY_NAME_MAX);
    let password = new_password(&mut violations, &message.password, &message.email);
    let checked = request_id.zip(email).zip(display_name.zip(password));
    let ((request_id, email), (display_name, password)) =
        violations.finish(checked).map_err(Error::Invalid)?;
    let principal = Principal::of(request);
    let idempotency = idempotency(&principal, method, request_id, message, &[PASSWORD_FIELD]);
    Ok(CreateUser { idempotency, email, display_name, password })
}

/// Who signs up without the wire, under the same rules.
pub(crate) fn new_admin(
    email: &str,
    display_name: &str,
    password: &str,
) -> Result<(Email, String, Password)> {
    let mut violations = Violations::new();
    let password = new_password(&mut violations, password, email);
    let email = self::email(&mut violations, email);
    let display_name = violations.line("display_name", display_name, DISPLAY_NAME_MAX);
    let checked = email.zip(display_name).zip(password);
    let ((email, display_name), password) = violations.finish(checked).map_err(Error::Invalid)?;
    Ok((email, display_name, password))
}

/// A checked `DeactivateUser`.
pub(super) fn deactivate_user(
    request: &Request<wire::DeactivateUserRequest>,
    method: &'static str,
) -> Result<DeactivateUser> {
    let message = request.get_ref();
    let mut violations = Violations::new();
    let request_id = violations.request_id(&message.request_id);
    let user_id = violations.id("user_id", &message.user_id);
    let etag = violations.etag(&message.etag);
    let checked = request_id.zip(user_id).zip(etag);
    let ((request_id, user_id), etag) = violations.finish(checked).map_err(Error::Invalid)?;
    let caller = person(request)?;
    let idempotency = idempotency(&Principal::User(caller), method, request_id, message, &[]);
    Ok(DeactivateUser { idempotency, caller, user_id, etag })
}

/// A checked `ChangeUserRole`.
pub(super) fn change_user_role(
    request: &Request<wire::ChangeUserRoleRequest>,
    method: &'static str,
) -> Result<ChangeUserRole> {
    let message = request.get_ref();
    let mut violations = Violations::new();
    let request_id = violations.request_id(&message.request_id);
    let user_id = violations.id("user_id", &message.user_id);
    let role = role(&mut violations, message.role);
    let etag = violations.etag(&message.etag);
    let checked = request_id.zip(user_id).zip(role.zip(etag));
    let ((request_id, user_id), (role, etag)) = violations.finish(checked).map_err(Error::Invalid)?;
    let caller = person(request)?;
    let idempotency = idempotency(&Principal::User(caller), method, request_id, message, &[]);
    Ok(ChangeUserRole { idempotency, caller: caller.user_id, user_id, role, etag })
}

/// A checked `CreatePost`.
pub(super) fn create_post(
    request: &Request<wire::CreatePostRequest>,
    method: &'static str,
) -> Result<CreatePost> {
    let message = request.get_ref();
    let mut violations = Violations::new();
    let request_id = violations.request_id(&message.request_id);
    let title = violations.line("title", &message.title, TITLE_MAX);
    let body = violations.paragraphs("body", &message.body, BODY_MAX);
    let checked = request_id.zip(title).zip(body);
    let ((request_id, title), body) = violations.finish(checked).map_err(Error::Invalid)?;
    let caller = person(request)?;
    let idempotency = idempotency(&Principal::User(caller), method, request_id, message, &[]);
    Ok(CreatePost { idempotency, caller: caller.user_id, title, body })
}

/// A checked `TransferPost`.
pub(super) fn transfer_post(
    request: &Request<wire::TransferPostRequest>,
    method: &'static str,
) -> Result<TransferPost> {
    let message = request.get_ref();
    let caller = person(request)?;
    let mut violations = Violations::new();
    let request_id = violations.request_id(&message.request_id);
    let post_id = violations.id("post_id", &message.post_id);
    let to = violations.id("to_user_id", &message.to_user_id);
    if to == Some(caller.user_id) {
        violations.add("to_user_id", "SAME_USER", "must be another user");
    }
    let etag = violations.etag(&message.etag);
    let checked = request_id.zip(post_id).zip(to.zip(etag));
    let ((request_id, post_id), (to, etag)) = violations.finish(checked).map_err(Error::Invalid)?;
    let idempotency = idempotency(&Principal::User(caller), method, request_id, message, &[]);
    let Person { user_id: caller, .. } = caller;
    Ok(TransferPost { idempotency, caller, post_id, to, etag })
}

/// The two things that `VerifyPassword` compares. What cannot be an address or a password is wrong, like any other
/// that does not fit, and not malformed: which rules there are is nobody's business at a login.
pub(super) fn verify_password(
    request: &wire::VerifyPasswordRequest,
) -> Result<(Option<Email>, Option<Password>)> {
    let mut violations = Violations::new();
    for (field, text) in [("email", &request.email), ("password", &request.password)] {
        if text.is_empty() {
            violations.add(field, "REQUIRED", "must be set");
        }
    }
    let is_empty = violations.is_empty();
    violations.finish(is_empty.then_some(())).map_err(Error::Invalid)?;
    Ok((request.email.parse().ok(), Password::to_verify(request.password.clone())))
}

/// An address that somebody may have.
fn email(violations: &mut Violations, text: &str) -> Option<Email> {
    if text.is_empty() {
        violations.add("email", "REQUIRED", "must be set");
        return None;
    }
    let email = text.parse().ok();
    if email.is_none() {
        violations.add("email", "INVALID_EMAIL", "must be an e-mail address of at most 254 bytes");
    }
    email
}

fn new_password(violations: &mut Violations, text: &str, email: &str) -> Option<Password> {
    let (reason, description) = match Password::new(text.to_owned(), email) {
        Ok(password) => return Some(password),
        Err(PasswordError::Missing) => ("REQUIRED", "must be set"),
        Err(PasswordError::Weak(why)) => ("WEAK_PASSWORD", why),
        Err(PasswordError::TooLong) => ("TOO_LONG", "must have at most 128 characters"),
    };
    violations.add("password", reason, description);
    None
}

fn role(violations: &mut Violations, number: i32) -> Option<Role> {
    match WireRole::try_from(number) {
        Ok(role) => {
            if role.known().is_none() {
                violations.add("role", "REQUIRED", "must be set");
            }
            role.known()
        }
        Err(_) => {
            violations.add("role", "UNKNOWN_ENUM_VALUE", "must be one of the roles");
            None
        }
    }
}
