//! `session.v1.SessionService`.

use api::session::v1::session_service_server::{SessionService, SessionServiceServer};
use api::session::v1::{
    ListSessionsRequest, ListSessionsResponse, LoginRequest, LoginResponse, RefreshSessionRequest,
    RefreshSessionResponse, RevokeAllSessionsRequest, RevokeAllSessionsResponse, RevokeSessionRequest,
    RevokeSessionResponse, ValidateSessionRequest, ValidateSessionResponse,
};
use auth::Principal;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use types::Source;

use super::convert;
use crate::app::{Answer, App};
use crate::error::Error;

/// The service.
#[derive(Clone)]
pub(crate) struct SessionServer(App);

impl SessionServer {
    pub(crate) fn new(app: App) -> SessionServiceServer<Self> {
        SessionServiceServer::new(Self(app))
    }
}

#[tonic::async_trait]
impl SessionService for SessionServer {
    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        let address = request.remote_addr().ok_or_else(|| Error::internal("a call from nowhere"))?;
        let login = convert::login(request.into_inner(), Source::of(address.ip()))?;
        Ok(Response::new(convert::logged_in(self.0.login(login).await?)))
    }

    async fn validate_session(
        &self,
        request: Request<ValidateSessionRequest>,
    ) -> Result<Response<ValidateSessionResponse>, Status> {
        let token = convert::validate_session(request.get_ref())?;
        Ok(Response::new(convert::verified(&self.0.validate_session(&token).await?)))
    }

    async fn refresh_session(
        &self,
        request: Request<RefreshSessionRequest>,
    ) -> Result<Response<RefreshSessionResponse>, Status> {
        let token = convert::refresh_session(request.get_ref())?;
        Ok(Response::new(convert::refreshed(self.0.refresh_session(&token).await?)))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let principal = Principal::of(&request);
        let list = convert::list_sessions(request.get_ref(), &principal)?;
        let page = self.0.list_sessions(&principal, list).await?;
        Ok(Response::new(convert::session_page(page, request.get_ref(), &principal)))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let principal = Principal::of(&request);
        let (revoke, keyed) = convert::revoke_session(request.get_ref(), &principal)?;
        let answer = self.0.revoke_session(&principal, revoke, keyed).await?;
        Ok(answered(answer, |()| RevokeSessionResponse {}))
    }

    async fn revoke_all_sessions(
        &self,
        request: Request<RevokeAllSessionsRequest>,
    ) -> Result<Response<RevokeAllSessionsResponse>, Status> {
        let principal = Principal::of(&request);
        let (revoke, keyed) = convert::revoke_all_sessions(request.get_ref(), &principal)?;
        let answer = self.0.revoke_all_sessions(&principal, revoke, keyed).await?;
        let revoked_count = i32::try_from(answer.value).map_err(Error::internal)?;
        Ok(answered(answer, |_| RevokeAllSessionsResponse { revoked_count }))
    }
}

/// The answer, marked when it is the first one given once more.
fn answered<T, M>(answer: Answer<T>, encode: impl FnOnce(T) -> M) -> Response<M> {
    let mut response = Response::new(encode(answer.value));
    if answer.is_replay {
        response.metadata_mut().insert("idempotent-replay", MetadataValue::from_static("true"));
    }
    response
}
