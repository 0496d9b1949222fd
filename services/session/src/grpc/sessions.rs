//! `session.v1.SessionService`.
#![deny(clippy::wildcard_enum_match_arm)]

use api::auth::v1::Role;
use api::call::Rpc as _;
use api::common::v1::ErrorReason as Common;
use api::page_token;
use api::refusal::Refusal;
use api::session::v1::session_service_server::SessionService;
use api::session::v1::{
    ErrorReason, ListSessionsRequest, ListSessionsResponse, LoginRequest, LoginResponse,
    RefreshSessionRequest, RefreshSessionResponse, RevokeAllSessionsRequest, RevokeAllSessionsResponse,
    RevokeSessionRequest, RevokeSessionResponse, Session as Message, ValidateSessionRequest,
    ValidateSessionResponse,
};
use api::violations::{Violations, timestamp};
use auth::Verified;
use auth::token::{AccessToken, RefreshToken};
use runtime::rpc::{accept, check, person, respond};
use tonic::{Code, Request, Response, Status};
use types::{SessionId, Source, UserId};
use uuid::Uuid;

use crate::app::App;
use crate::app::sessions::{ListSessions, Login, RevokeSession, SessionCursor, SessionPage};
use crate::domain::{Session, SessionRefused};
use crate::error::Error;

const EMAIL_BYTES_MAX: usize = 254;
/// A longer text is refused without a look at it.
const PASSWORD_BYTES_MAX: usize = 512;
const CLIENT_NAME_MAX: usize = 100;

/// The service.
#[derive(Clone)]
pub(crate) struct Sessions(pub(super) App);

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        let address = request.remote_addr().ok_or_else(|| Error::internal("a call without an address"))?;
        let (source, wish) = (Source::of(address.ip()), check(&request, login)?);
        let (made, tokens) = self.0.login(source, wish).await?;
        Ok(Response::new(LoginResponse {
            access_token: tokens.access.expose().to_owned(),
            access_expire_time: Some(timestamp(tokens.access_until)),
            refresh_token: tokens.refresh.expose().to_owned(),
            session: Some(session(made, true)),
        }))
    }

    async fn validate_session(
        &self,
        request: Request<ValidateSessionRequest>,
    ) -> Result<Response<ValidateSessionResponse>, Status> {
        let token = check(&request, validate_session)?;
        Ok(Response::new(verified(&self.0.validate_session(token).await?)))
    }

    async fn refresh_session(
        &self,
        request: Request<RefreshSessionRequest>,
    ) -> Result<Response<RefreshSessionResponse>, Status> {
        let token = check(&request, refresh_session)?;
        let (refreshed, tokens) = self.0.refresh_session(token).await?;
        Ok(Response::new(RefreshSessionResponse {
            access_token: tokens.access.expose().to_owned(),
            access_expire_time: Some(timestamp(tokens.access_until)),
            refresh_token: tokens.refresh.expose().to_owned(),
            session: Some(session(refreshed, true)),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let (caller, wish) = (person(&request)?, check(&request, list_sessions)?);
        let page = self.0.list_sessions(caller, wish).await?;
        let list = list_names(Some(caller.user_id), request.get_ref());
        Ok(Response::new(session_page(page, caller.session_id, &list)))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, revoke_session)?);
        let answer = self.0.revoke_session(&call, caller, wish).await?;
        Ok(respond(answer, |()| RevokeSessionResponse {}))
    }

    async fn revoke_all_sessions(
        &self,
        request: Request<RevokeAllSessionsRequest>,
    ) -> Result<Response<RevokeAllSessionsResponse>, Status> {
        let (caller, (call, user_id)) = (person(&request)?, accept(&request, revoke_all_sessions)?);
        let answer = self.0.revoke_all_sessions(&call, caller, user_id).await?;
        Ok(respond(answer, |revoked_count| RevokeAllSessionsResponse { revoked_count }))
    }
}

fn login(v: &mut Violations, request: &LoginRequest) -> Option<Login> {
    let email = v.line("email", &request.email, EMAIL_BYTES_MAX);
    if request.email.len() > EMAIL_BYTES_MAX && request.email.chars().count() <= EMAIL_BYTES_MAX {
        v.add("email", "TOO_LONG", format!("must have at most {EMAIL_BYTES_MAX} bytes"));
    }
    if request.password.is_empty() {
        v.add("password", "REQUIRED", "must be set");
    } else if request.password.len() > PASSWORD_BYTES_MAX {
        v.add("password", "TOO_LONG", format!("must have at most {PASSWORD_BYTES_MAX} bytes"));
    }
    let client_name = if request.client_name.is_empty() {
        Some(String::new())
    } else {
        v.line("client_name", &request.client_name, CLIENT_NAME_MAX)
    };
    let password = request.password.clone().into();
    Some(Login { email: email?, password, client_name: client_name? })
}

/// The token to validate; `Some(None)` for a text that does not even look like a token.
fn validate_session(v: &mut Violations, request: &ValidateSessionRequest) -> Option<Option<AccessToken>> {
    required(v, "access_token", &request.access_token).map(AccessToken::parse)
}

/// As [`validate_session`].
fn refresh_session(v: &mut Violations, request: &RefreshSessionRequest) -> Option<Option<RefreshToken>> {
    required(v, "refresh_token", &request.refresh_token).map(RefreshToken::parse)
}

fn required<'a>(v: &mut Violations, field: &str, value: &'a str) -> Option<&'a str> {
    if value.is_empty() {
        v.add(field, "REQUIRED", "must be set");
        return None;
    }
    Some(value)
}

fn list_sessions(v: &mut Violations, request: &ListSessionsRequest) -> Option<ListSessions> {
    let user_id = v.user_or_caller("user_id", &request.user_id);
    let page_size = v.page_size(request.page_size);
    let after = page_start(v, request);
    Some(ListSessions { user_id: user_id?, page_size: page_size?, after: after? })
}

/// After which session the page begins; `Some(None)` for the first page.
fn page_start(v: &mut Violations, request: &ListSessionsRequest) -> Option<Option<SessionCursor>> {
    if request.page_token.is_empty() {
        return Some(None);
    }
    let list = list_names(v.caller(), request);
    let position = page_token::decode(&list.each_ref().map(String::as_str), &request.page_token);
    let cursor = position.and_then(|position| cursor_read(&position));
    if cursor.is_none() {
        v.invalid_page_token();
    }
    cursor.map(Some)
}

/// What names the list that a page token belongs to.
fn list_names(caller: Option<UserId>, request: &ListSessionsRequest) -> [String; 3] {
    let caller = caller.map(|caller| caller.to_string()).unwrap_or_default();
    [ListSessionsRequest::METHOD.to_owned(), caller, request.user_id.clone()]
}

fn session_page(page: SessionPage, current: SessionId, list: &[String; 3]) -> ListSessionsResponse {
    let list = list.each_ref().map(String::as_str);
    let next = page.next.map(|cursor| page_token::encode(&list, &cursor_write(cursor)));
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

fn revoke_session(v: &mut Violations, request: &RevokeSessionRequest) -> Option<RevokeSession> {
    let session_id = v.id("session_id", &request.session_id);
    let user_id = v.user_or_caller("user_id", &request.user_id);
    Some(RevokeSession { session_id: session_id?, user_id: user_id? })
}

fn revoke_all_sessions(v: &mut Violations, request: &RevokeAllSessionsRequest) -> Option<UserId> {
    v.user_or_caller("user_id", &request.user_id)
}

fn session(session: Session, current: bool) -> Message {
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

fn verified(verified: &Verified) -> ValidateSessionResponse {
    ValidateSessionResponse {
        session_id: verified.person.session_id.to_string(),
        user_id: verified.person.user_id.to_string(),
        role: Role::from(verified.person.role).into(),
        access_expire_time: Some(timestamp(verified.expires_at)),
    }
}

impl From<&SessionRefused> for Refusal {
    fn from(refused: &SessionRefused) -> Self {
        let common = |code, reason: Common| Self::new(code, &reason, refused.to_string());
        let own = |code, reason: ErrorReason| Self::new(code, &reason, refused.to_string());
        match refused {
            SessionRefused::InvalidCredentials => common(Code::Unauthenticated, Common::InvalidCredentials),
            SessionRefused::LoginThrottled { retry_after } => {
                own(Code::ResourceExhausted, ErrorReason::LoginThrottled)
                    .quota("login", "failed logins of this address, or from where the call comes")
                    .retry_after(*retry_after)
            }
            SessionRefused::SessionNotFound { session_id } => {
                own(Code::NotFound, ErrorReason::SessionNotFound)
                    .with("session_id", session_id.to_string())
                    .resource("session", session_id.to_string())
            }
            SessionRefused::PermissionDenied => common(Code::PermissionDenied, Common::PermissionDenied),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn every_refusal_has_its_code_reason_and_details() {
        let session_id = SessionId::from_uuid(Uuid::from_u128(1));
        let retry_after = Duration::from_secs(7);
        for (refused, code, reason) in [
            (SessionRefused::InvalidCredentials, Code::Unauthenticated, "INVALID_CREDENTIALS"),
            (SessionRefused::LoginThrottled { retry_after }, Code::ResourceExhausted, "LOGIN_THROTTLED"),
            (SessionRefused::SessionNotFound { session_id }, Code::NotFound, "SESSION_NOT_FOUND"),
            (SessionRefused::PermissionDenied, Code::PermissionDenied, "PERMISSION_DENIED"),
        ] {
            let status = Status::from(Error::from(refused.clone()));
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((status.code(), info.reason.as_str()), (code, reason));
            let is_throttled = matches!(refused, SessionRefused::LoginThrottled { .. });
            let waits = details.retry_info().map(|info| info.retry_delay);
            assert_eq!(waits, is_throttled.then_some(Some(retry_after)), "{reason}");
            let quota = details.quota_failure().map(|failure| failure.violations[0].subject.as_str());
            assert_eq!(quota, is_throttled.then_some("login"), "{reason}");
            let is_missing = matches!(refused, SessionRefused::SessionNotFound { .. });
            let id = is_missing.then(|| session_id.to_string());
            assert_eq!(info.metadata.get("session_id"), id.as_ref(), "{reason}");
            let resource = details.resource_info().map(|info| info.resource_name.clone());
            assert_eq!(resource, id, "{reason}");
        }
    }

    #[test]
    fn a_page_token_is_good_for_its_caller_and_its_list() {
        let [ann, ben] = [1, 2].map(|number| UserId::from_uuid(Uuid::from_u128(number)));
        let cursor = (5, SessionId::from_uuid(Uuid::from_u128(3)));
        let names = list_names(Some(ann), &ListSessionsRequest::default());
        let page = SessionPage { sessions: Vec::new(), next: Some(cursor) };
        let page_token = session_page(page, cursor.1, &names).next_page_token;
        let read = |caller, user_id: &str| {
            let (page_token, user_id) = (page_token.clone(), user_id.to_owned());
            let request = ListSessionsRequest { page_token, user_id, page_size: 0 };
            list_sessions(&mut Violations::of_caller(Some(caller)), &request).map(|list| list.after)
        };
        assert_eq!(read(ann, ""), Some(Some(cursor)));
        assert_eq!(read(ben, ""), None);
        assert_eq!(read(ann, &ben.to_string()), None);
    }
}
