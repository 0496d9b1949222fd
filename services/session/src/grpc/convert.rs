//! Between protobuf and the words of this crate. All broken rules of a request are told at once.

use api::auth::v1::Role;
use api::session::v1::{
    ListSessionsRequest, ListSessionsResponse, LoginRequest, LoginResponse, RefreshSessionRequest,
    RefreshSessionResponse, RevokeAllSessionsRequest, RevokeSessionRequest, Session as Message,
    ValidateSessionRequest, ValidateSessionResponse,
};
use api::violations::{Violations, timestamp};
use api::{fingerprint, page_token};
use auth::token::{AccessToken, RefreshToken};
use auth::{Principal, Verified};
use types::{RequestKey, SessionId, Source, UserId};
use uuid::Uuid;

use crate::app::{
    ListSessions, Login, Request, RevokeAllSessions, RevokeSession, SessionCursor, SessionPage,
};
use crate::domain::Session;
use crate::error::{Error, Result};
use crate::storage::Tokens;

const LIST_SESSIONS: &str = "session.v1.SessionService/ListSessions";
const REVOKE_SESSION: &str = "session.v1.SessionService/RevokeSession";
const REVOKE_ALL_SESSIONS: &str = "session.v1.SessionService/RevokeAllSessions";

const EMAIL_BYTES_MAX: usize = 254;
/// What is looked at as a password at all.
const PASSWORD_BYTES_MAX: usize = 512;
const CLIENT_NAME_MAX: usize = 100;

pub(super) fn login(request: LoginRequest, source: Source) -> Result<Login> {
    let mut violations = Violations::new();
    let email = violations.line("email", &request.email, EMAIL_BYTES_MAX);
    if request.email.len() > EMAIL_BYTES_MAX && request.email.chars().count() <= EMAIL_BYTES_MAX {
        violations.add("email", "TOO_LONG", format!("must have at most {EMAIL_BYTES_MAX} bytes"));
    }
    if request.password.is_empty() {
        violations.add("password", "REQUIRED", "must be set");
    } else if request.password.len() > PASSWORD_BYTES_MAX {
        violations.add("password", "TOO_LONG", format!("must have at most {PASSWORD_BYTES_MAX} bytes"));
    }
    let client_name = if request.client_name.is_empty() {
        Some(String::new())
    } else {
        violations.line("client_name", &request.client_name, CLIENT_NAME_MAX)
    };
    let password = request.password.into();
    let login =
        email.zip(client_name).map(|(email, client_name)| Login { email, password, client_name, source });
    violations.finish(login).map_err(Error::Invalid)
}

/// The token to validate. What is not even shaped like one needs no look-up.
pub(super) fn validate_session(request: &ValidateSessionRequest) -> Result<AccessToken> {
    required("access_token", &request.access_token)?;
    AccessToken::parse(&request.access_token).ok_or(Error::InvalidCredentials)
}

pub(super) fn refresh_session(request: &RefreshSessionRequest) -> Result<RefreshToken> {
    required("refresh_token", &request.refresh_token)?;
    RefreshToken::parse(&request.refresh_token).ok_or(Error::InvalidCredentials)
}

fn required(field: &str, value: &str) -> Result<()> {
    let mut violations = Violations::new();
    if value.is_empty() {
        violations.add(field, "REQUIRED", "must be set");
    }
    let is_empty = violations.is_empty();
    violations.finish(is_empty.then_some(())).map_err(Error::Invalid)
}

pub(super) fn list_sessions(request: &ListSessionsRequest, principal: &Principal) -> Result<ListSessions> {
    let mut violations = Violations::new();
    let user_id = violations.optional_id::<UserId>("user_id", &request.user_id);
    let page_size = violations.page_size(request.page_size);
    let after = if request.page_token.is_empty() {
        Some(None)
    } else {
        let cursor =
            page_token::decode(&[LIST_SESSIONS, &principal.key(), &request.user_id], &request.page_token);
        let cursor = cursor.and_then(|bytes| cursor_read(&bytes));
        if cursor.is_none() {
            violations.add(
                "page_token",
                "INVALID_PAGE_TOKEN",
                "must be the next_page_token of the same list",
            );
        }
        cursor.map(Some)
    };
    let list = user_id.zip(page_size).zip(after).map(|((user_id, page_size), after)| ListSessions {
        user_id,
        page_size,
        after,
    });
    violations.finish(list).map_err(Error::Invalid)
}

pub(super) fn session_page(
    page: SessionPage,
    request: &ListSessionsRequest,
    principal: &Principal,
) -> ListSessionsResponse {
    let list = [LIST_SESSIONS, &principal.key(), &request.user_id];
    let next = page.next.map(|cursor| page_token::encode(&list, &cursor_write(cursor)));
    let current = page.current;
    let sessions = page.sessions.into_iter().map(|row| {
        let is_current = row.id == current;
        session(row, is_current)
    });
    ListSessionsResponse { sessions: sessions.collect(), next_page_token: next.unwrap_or_default() }
}

fn cursor_write((millis, id): SessionCursor) -> Vec<u8> {
    let mut bytes = millis.to_be_bytes().to_vec();
    bytes.extend(id.uuid().as_bytes());
    bytes
}

fn cursor_read(bytes: &[u8]) -> Option<SessionCursor> {
    let (millis, id) = bytes.split_first_chunk::<8>()?;
    let id = Uuid::from_bytes(id.try_into().ok()?);
    Some((i64::from_be_bytes(*millis), SessionId::from_uuid(id)))
}

pub(super) fn revoke_session(
    message: &RevokeSessionRequest,
    principal: &Principal,
) -> Result<(RevokeSession, Request)> {
    let mut violations = Violations::new();
    let request_id = violations.request_id(&message.request_id);
    let session_id = violations.id("session_id", &message.session_id);
    let user_id = violations.optional_id("user_id", &message.user_id);
    let revoke = request_id.zip(session_id).zip(user_id).map(|((request_id, session_id), user_id)| {
        (RevokeSession { session_id, user_id }, request(message, principal, REVOKE_SESSION, request_id))
    });
    violations.finish(revoke).map_err(Error::Invalid)
}

pub(super) fn revoke_all_sessions(
    message: &RevokeAllSessionsRequest,
    principal: &Principal,
) -> Result<(RevokeAllSessions, Request)> {
    let mut violations = Violations::new();
    let request_id = violations.request_id(&message.request_id);
    let user_id = violations.optional_id("user_id", &message.user_id);
    let revoke = request_id.zip(user_id).map(|(request_id, user_id)| {
        (RevokeAllSessions { user_id }, request(message, principal, REVOKE_ALL_SESSIONS, request_id))
    });
    violations.finish(revoke).map_err(Error::Invalid)
}

fn request(
    message: &impl prost::Message,
    principal: &Principal,
    method: &'static str,
    request_id: Uuid,
) -> Request {
    Request {
        key: RequestKey { principal: principal.key(), method, request_id },
        fingerprint: fingerprint::of(message, &[]),
    }
}

pub(super) fn session(session: Session, current: bool) -> Message {
    Message {
        id: session.id.to_string(),
        user_id: session.user_id.to_string(),
        client_name: session.client_name,
        create_time: Some(timestamp(session.created_at)),
        use_time: Some(timestamp(session.used_at)),
        idle_expire_time: Some(timestamp(session.idle_until)),
        expire_time: Some(timestamp(session.expires_at)),
        current,
    }
}

pub(super) fn logged_in((row, tokens): (Session, Tokens)) -> LoginResponse {
    LoginResponse {
        access_token: tokens.access.expose().to_owned(),
        access_expire_time: Some(timestamp(tokens.access_until)),
        refresh_token: tokens.refresh.expose().to_owned(),
        session: Some(session(row, true)),
    }
}

pub(super) fn refreshed((row, tokens): (Session, Tokens)) -> RefreshSessionResponse {
    RefreshSessionResponse {
        access_token: tokens.access.expose().to_owned(),
        access_expire_time: Some(timestamp(tokens.access_until)),
        refresh_token: tokens.refresh.expose().to_owned(),
        session: Some(session(row, true)),
    }
}

pub(super) fn verified(verified: &Verified) -> ValidateSessionResponse {
    ValidateSessionResponse {
        session_id: verified.person.session_id.to_string(),
        user_id: verified.person.user_id.to_string(),
        role: Role::from(verified.person.role).into(),
        access_expire_time: Some(timestamp(verified.expires_at)),
    }
}
