//! What requests about users ask for.

use api::auth::v1::Role as WireRole;
use api::call::Changing as _;
use api::read_mask::ReadMask;
use api::update_mask::{FieldMask, UpdateMask};
use api::user::v1::{
    self as wire, BatchGetUsersRequest, ChangeEmailRequest, ChangePasswordRequest, ChangeUserRoleRequest,
    CreateUserRequest, DeactivateUserRequest, DeleteUserRequest, GetUserByEmailRequest,
    GetUserByUsernameRequest, GetUserRequest, ReactivateUserRequest, ResetPasswordRequest, UpdateUserRequest,
    VerifyPasswordRequest,
};
use api::violations::Violations;
use types::{Role, UserId};

use crate::app::users::{
    ChangeEmail, ChangePassword, ChangeUserRole, CreateUser, DeactivateUser, DeleteUser, NewUser,
    ReactivateUser, ResetPassword, UpdateUser, VerifyPassword,
};
use crate::domain::email::Email;
use crate::domain::password::{Password, PasswordError};
use crate::domain::profile::{
    BIO_CHARS_MAX, HttpsUrl, Location, NAME_CHARS_MAX, ProfileChange, URL_CHARS_MAX,
};
use crate::domain::user::UserChange;
use crate::domain::username::{USERNAME_CHARS_MAX, USERNAME_CHARS_MIN, Username, UsernameError};

const DISPLAY_NAME_MAX: usize = 50;
/// How many users are read at once.
const USERS_MAX: usize = 100;
/// What can be changed of a user.
const CHANGEABLE: [&str; 12] = [
    "display_name",
    "username",
    "profile",
    "profile.given_name",
    "profile.family_name",
    "profile.bio",
    "profile.avatar_url",
    "profile.twitter",
    "profile.facebook",
    "profile.linkedin",
    "profile.location",
    "profile.location_shared",
];

pub(super) fn read_mask(v: &mut Violations, mask: Option<&FieldMask>) -> Option<ReadMask> {
    v.read_mask::<wire::User>(mask)
}

/// The same where no posts are read.
fn read_mask_without_posts(v: &mut Violations, mask: Option<&FieldMask>) -> Option<ReadMask> {
    let mask = read_mask(v, mask)?;
    if !mask.is_all() && mask.wants("recent_posts") {
        v.add("read_mask", "UNSUPPORTED_FIELD", "must not name recent_posts here");
        return None;
    }
    Some(mask)
}

pub(super) fn get_user(v: &mut Violations, request: &GetUserRequest) -> Option<(UserId, ReadMask)> {
    let user_id = v.id("user_id", &request.user_id);
    user_id.zip(read_mask(v, request.read_mask.as_ref()))
}

pub(super) fn get_user_by_username(
    v: &mut Violations,
    request: &GetUserByUsernameRequest,
) -> Option<(Username, ReadMask)> {
    let username = match request.username.as_str() {
        "" => {
            v.add("username", "REQUIRED", "must be set");
            None
        }
        text => username(v, "username", text),
    };
    let mask = read_mask(v, request.read_mask.as_ref());
    username.zip(mask)
}

pub(super) fn get_user_by_email(
    v: &mut Violations,
    request: &GetUserByEmailRequest,
) -> Option<(Email, ReadMask)> {
    let email = email(v, &request.email);
    let mask = read_mask_without_posts(v, request.read_mask.as_ref());
    email.zip(mask)
}

pub(super) fn batch_get_users(
    v: &mut Violations,
    request: &BatchGetUsersRequest,
) -> Option<(Vec<UserId>, ReadMask)> {
    let ids = user_ids(v, &request.user_ids);
    let mask = read_mask_without_posts(v, request.read_mask.as_ref());
    ids.zip(mask)
}

fn user_ids(v: &mut Violations, texts: &[String]) -> Option<Vec<UserId>> {
    if texts.is_empty() {
        v.add("user_ids", "REQUIRED", "must have at least one id");
        return None;
    }
    if texts.len() > USERS_MAX {
        v.add("user_ids", "TOO_MANY", format!("must have at most {USERS_MAX} ids"));
        return None;
    }
    let mut ids: Vec<UserId> = Vec::with_capacity(texts.len());
    let mut are_good = true;
    for (place, text) in texts.iter().enumerate() {
        let field = format!("user_ids[{place}]");
        match v.id(&field, text) {
            Some(id) if ids.contains(&id) => {
                v.add(&field, "DUPLICATE", "must name each user once");
                are_good = false;
            }
            Some(id) => ids.push(id),
            None => are_good = false,
        }
    }
    are_good.then_some(ids)
}

pub(super) fn create_user(v: &mut Violations, request: &CreateUserRequest) -> Option<CreateUser> {
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
    let password = new_password(v, "password", password, address);
    Some(NewUser { email: email?, display_name: display_name?, password: password? })
}

pub(super) fn deactivate_user(v: &mut Violations, request: &DeactivateUserRequest) -> Option<DeactivateUser> {
    let user_id = v.id("user_id", &request.user_id);
    let etag = v.etag(&request.etag);
    Some(DeactivateUser { user_id: user_id?, etag: etag? })
}

/// Who deletes the own account has to say the password; that of somebody else nobody has to know.
pub(super) fn delete_user(v: &mut Violations, request: &DeleteUserRequest) -> Option<DeleteUser> {
    let user_id = v.id("user_id", &request.user_id);
    let is_own = user_id.is_some() && user_id == v.caller();
    let password = if is_own { present_password(v, &request.password) } else { Some(None) };
    let etag = v.etag(&request.etag);
    let delete_posts = request.delete_posts;
    Some(DeleteUser { user_id: user_id?, password: password?, delete_posts, etag: etag? })
}

pub(super) fn change_user_role(
    v: &mut Violations,
    request: &ChangeUserRoleRequest,
) -> Option<ChangeUserRole> {
    let user_id = v.id("user_id", &request.user_id);
    let role = role(v, request.role);
    let etag = v.etag(&request.etag);
    Some(ChangeUserRole { user_id: user_id?, role: role?, etag: etag? })
}

/// Text that can be no address or no password is a wrong one, like any other that does not fit: a login does not tell
/// which rules there are.
pub(super) fn verify_password(v: &mut Violations, request: &VerifyPasswordRequest) -> Option<VerifyPassword> {
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

fn new_password(v: &mut Violations, field: &str, text: &str, email: &str) -> Option<Password> {
    let (reason, description) = match Password::new(text.to_owned(), email) {
        Ok(password) => return Some(password),
        Err(PasswordError::Missing) => ("REQUIRED", "must be set"),
        Err(PasswordError::Weak(why)) => ("WEAK_PASSWORD", why),
        Err(PasswordError::TooLong) => ("TOO_LONG", "must have at most 128 characters"),
    };
    v.add(field, reason, description);
    None
}

/// The present password of the caller; `None` for what nobody can have as one.
fn present_password(v: &mut Violations, text: &str) -> Option<Option<Password>> {
    if text.is_empty() {
        v.add("password", "REQUIRED", "must be set");
        return None;
    }
    Some(Password::to_verify(text.to_owned()))
}

pub(super) fn reactivate_user(v: &mut Violations, request: &ReactivateUserRequest) -> Option<ReactivateUser> {
    let user_id = v.id("user_id", &request.user_id);
    let etag = v.etag(&request.etag);
    Some(ReactivateUser { user_id: user_id?, etag: etag? })
}

pub(super) fn change_email(v: &mut Violations, request: &ChangeEmailRequest) -> Option<ChangeEmail> {
    let email = email(v, &request.email);
    let password = present_password(v, &request.password);
    let etag = v.etag(&request.etag);
    Some(ChangeEmail { email: email?, password: password?, etag: etag?, secret: ChangeEmailRequest::SECRET })
}

/// Whether the new password is the caller's address is asked where the address is known.
pub(super) fn change_password(v: &mut Violations, request: &ChangePasswordRequest) -> Option<ChangePassword> {
    let password = present_password(v, &request.password);
    let new_password = new_password(v, "new_password", &request.new_password, "");
    let etag = v.etag(&request.etag);
    let secret = ChangePasswordRequest::SECRET;
    Some(ChangePassword { password: password?, new_password: new_password?, etag: etag?, secret })
}

/// Whether the new password is the user's address is asked where the address is known.
pub(super) fn reset_password(v: &mut Violations, request: &ResetPasswordRequest) -> Option<ResetPassword> {
    let user_id = v.id("user_id", &request.user_id);
    let new_password = new_password(v, "new_password", &request.new_password, "");
    let etag = v.etag(&request.etag);
    let secret = ResetPasswordRequest::SECRET;
    Some(ResetPassword { user_id: user_id?, new_password: new_password?, etag: etag?, secret })
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

pub(super) fn update_user(v: &mut Violations, request: &UpdateUserRequest) -> Option<UpdateUser> {
    let user_id = v.id("user_id", &request.user_id);
    let mask = v.update_mask::<wire::User>(request.update_mask.as_ref(), &CHANGEABLE);
    let user = request.user.clone().unwrap_or_default();
    let display_name =
        mask.value("display_name", || v.line("user.display_name", &user.display_name, DISPLAY_NAME_MAX));
    let username =
        mask.value("username", || optional(&user.username, |text| username(v, "user.username", text)));
    let profile = profile_change(v, &mask, &user.profile.unwrap_or_default());
    let etag = v.etag(&request.etag);
    let change = UserChange { display_name: display_name?, username: username?, profile: profile? };
    Some(UpdateUser { user_id: user_id?, change, etag: etag? })
}

fn profile_change(v: &mut Violations, mask: &UpdateMask, profile: &wire::Profile) -> Option<ProfileChange> {
    let mut name = |field: &str, text: &str| {
        mask.value(&format!("profile.{field}"), || {
            optional(text, |text| v.line(&format!("user.profile.{field}"), text, NAME_CHARS_MAX))
        })
    };
    let given_name = name("given_name", &profile.given_name);
    let family_name = name("family_name", &profile.family_name);
    let bio = mask.value("profile.bio", || {
        optional(&profile.bio, |text| v.body("user.profile.bio", text, BIO_CHARS_MAX))
    });
    let mut url = |field: &str, text: &str| {
        mask.value(&format!("profile.{field}"), || {
            optional(text, |text| https_url(v, &format!("user.profile.{field}"), text))
        })
    };
    let avatar_url = url("avatar_url", &profile.avatar_url);
    let twitter = url("twitter", &profile.twitter);
    let facebook = url("facebook", &profile.facebook);
    let linkedin = url("linkedin", &profile.linkedin);
    let location = mask.value("profile.location", || match &profile.location {
        Some(place) => location(v, "user.profile.location", place).map(Some),
        None => Some(None),
    });
    let location_shared = mask.value("profile.location_shared", || Some(profile.location_shared));
    Some(ProfileChange {
        given_name: given_name?,
        family_name: family_name?,
        bio: bio?,
        avatar_url: avatar_url?,
        twitter: twitter?,
        facebook: facebook?,
        linkedin: linkedin?,
        location: location?,
        location_shared: location_shared?,
    })
}

/// What may be left out: `Some(None)` when it is empty.
fn optional<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { read(text).map(Some) }
}

fn username(v: &mut Violations, field: &str, text: &str) -> Option<Username> {
    let (reason, description) = match Username::new(text.to_owned()) {
        Ok(username) => return Some(username),
        Err(UsernameError::TooShort) => {
            ("TOO_SHORT", format!("must have at least {USERNAME_CHARS_MIN} characters"))
        }
        Err(UsernameError::TooLong) => {
            ("TOO_LONG", format!("must have at most {USERNAME_CHARS_MAX} characters"))
        }
        Err(UsernameError::Disallowed) => {
            ("DISALLOWED_CHARACTER", "must have nothing but letters and digits".to_owned())
        }
        Err(UsernameError::MixedScripts) => {
            ("CONFUSABLE", "must not mix the letters of different scripts".to_owned())
        }
    };
    v.add(field, reason, description);
    None
}

fn https_url(v: &mut Violations, field: &str, text: &str) -> Option<HttpsUrl> {
    if text.chars().nth(URL_CHARS_MAX).is_some() {
        v.add(field, "TOO_LONG", format!("must have at most {URL_CHARS_MAX} characters"));
        return None;
    }
    let url = HttpsUrl::new(text);
    if url.is_none() {
        v.add(
            field,
            "INVALID_URL",
            "must be a URL that begins with https:// and names a host, without a login",
        );
    }
    url
}

pub(super) fn location(v: &mut Violations, field: &str, place: &wire::Location) -> Option<Location> {
    let beyond = match Location::from_e7(place.longitude_e7, place.latitude_e7) {
        Ok(location) => return Some(location),
        Err(beyond) => beyond,
    };
    if beyond.longitude {
        let description = "must be from -1800000000 to 1800000000";
        v.add(&format!("{field}.longitude_e7"), "OUT_OF_RANGE", description);
    }
    if beyond.latitude {
        let description = "must be from -900000000 to 900000000";
        v.add(&format!("{field}.latitude_e7"), "OUT_OF_RANGE", description);
    }
    None
}
