//! User and session service as order service sees them, over real gRPC: who is logged in, and who exists.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::auth::v1::Role;
use api::common::v1::ErrorReason as Common;
use api::refusal::Refusal;
use api::session::v1::session_service_server::{self, SessionService, SessionServiceServer};
use api::session::v1::*;
use api::user::v1::audit_service_server::AuditServiceServer;
use api::user::v1::user_service_server::{self, UserService, UserServiceServer};
use api::user::v1::wallet_service_server::{WalletService, WalletServiceServer};
use api::user::v1::*;
use auth::token::AccessToken;
use events::service::EventServer;
use testkit::stand_in;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status};
use types::UserId;
use uuid::Uuid;

use crate::audit_peer::WalletAudits;
use crate::user_stream::UserStream;

/// Both peers, on one port.
pub(crate) struct Peers {
    /// User service's part of the audit.
    pub(crate) audits: WalletAudits,
    state: Arc<State>,
    stream: UserStream,
    url: String,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    sessions: Mutex<HashMap<String, (UserId, Role)>>,
    users: Mutex<HashMap<UserId, User>>,
    asked: Mutex<u32>,
    /// By transfer; `None` while the wallets do not answer.
    holds: Mutex<Option<HashMap<String, GetHoldResponse>>>,
}

#[derive(Clone)]
struct Server(Arc<State>, UserStream);

impl Peers {
    pub(crate) async fn start() -> Self {
        let (state, stream) = (Arc::<State>::default(), UserStream::new());
        let (server, audits) = (Server(Arc::clone(&state), stream.clone()), WalletAudits::default());
        let events = EventServer::new(stream.clone(), CancellationToken::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let health =
            stand_in(&[user_service_server::SERVICE_NAME, session_service_server::SERVICE_NAME]).await;
        let router = tonic::transport::Server::builder()
            .add_service(health)
            .add_service(UserServiceServer::new(server.clone()))
            .add_service(WalletServiceServer::new(server.clone()))
            .add_service(AuditServiceServer::new(audits.clone()))
            .add_service(SessionServiceServer::new(server))
            .add_service(events.into_service());
        #[expect(clippy::disallowed_methods, reason = "ended with the harness")]
        let task = tokio::spawn(async move {
            router.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { audits, state, stream, url, task }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A new user with a session: the id and the access token.
    pub(crate) fn sign_up(&self, role: Role) -> (UserId, String) {
        let user_id = UserId::from_uuid(Uuid::now_v7());
        let token = AccessToken::generate(0).expose().to_owned();
        self.state.sessions.lock().unwrap().insert(token.clone(), (user_id, role));
        let user = User {
            id: user_id.to_string(),
            role: role.into(),
            state: user::State::Active.into(),
            version: 1,
            ..User::default()
        };
        self.state.users.lock().unwrap().insert(user_id, user);
        (user_id, token)
    }

    /// What user service tells of a user from now on.
    pub(crate) fn change(&self, user_id: &str, change: impl FnOnce(&mut User)) {
        change(self.state.users.lock().unwrap().get_mut(&user_id.parse().unwrap()).unwrap());
    }

    /// User service has never heard of somebody.
    pub(crate) fn forget(&self, user_id: &str) {
        self.state.users.lock().unwrap().remove(&user_id.parse().unwrap());
    }

    /// The wallets answer from now on, and know these holds.
    pub(crate) fn know_holds(&self, holds: impl IntoIterator<Item = GetHoldResponse>) {
        let holds = holds.into_iter().map(|known| (known.hold.as_ref().unwrap().transfer_id.clone(), known));
        *self.state.holds.lock().unwrap() = Some(holds.collect());
    }

    /// User service's events.
    pub(crate) fn stream(&self) -> &UserStream {
        &self.stream
    }

    /// How often user service was asked for a user.
    pub(crate) fn asked(&self) -> u32 {
        *self.state.asked.lock().unwrap()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn not_imitated<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not imitated"))
}

#[tonic::async_trait]
impl UserService for Server {
    type SnapshotUsersStream = BoxStream<SnapshotUsersResponse>;
    type StreamUsersStream = BoxStream<StreamUsersResponse>;

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        *self.0.asked.lock().unwrap() += 1;
        let user_id = request.into_inner().user_id;
        let user = self.0.users.lock().unwrap().get(&user_id.parse().unwrap()).cloned();
        match user {
            Some(user) => Ok(Response::new(GetUserResponse { user: Some(user) })),
            None => Err(Refusal::new(
                Code::NotFound,
                &api::user::v1::ErrorReason::UserNotFound,
                "there is no such user",
            )
            .resource("user", user_id)
            .into_status()),
        }
    }

    async fn create_user(
        &self,
        _: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserResponse>, Status> {
        not_imitated()
    }

    async fn get_user_by_username(
        &self,
        _: Request<GetUserByUsernameRequest>,
    ) -> Result<Response<GetUserByUsernameResponse>, Status> {
        not_imitated()
    }

    async fn get_user_by_email(
        &self,
        _: Request<GetUserByEmailRequest>,
    ) -> Result<Response<GetUserByEmailResponse>, Status> {
        not_imitated()
    }

    async fn batch_get_users(
        &self,
        _: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        not_imitated()
    }

    async fn list_users(&self, _: Request<ListUsersRequest>) -> Result<Response<ListUsersResponse>, Status> {
        not_imitated()
    }

    async fn search_users(
        &self,
        _: Request<SearchUsersRequest>,
    ) -> Result<Response<SearchUsersResponse>, Status> {
        not_imitated()
    }

    async fn stream_users(
        &self,
        _: Request<StreamUsersRequest>,
    ) -> Result<Response<Self::StreamUsersStream>, Status> {
        not_imitated()
    }

    async fn update_user(
        &self,
        _: Request<UpdateUserRequest>,
    ) -> Result<Response<UpdateUserResponse>, Status> {
        not_imitated()
    }

    async fn deactivate_user(
        &self,
        _: Request<DeactivateUserRequest>,
    ) -> Result<Response<DeactivateUserResponse>, Status> {
        not_imitated()
    }

    async fn delete_user(
        &self,
        _: Request<DeleteUserRequest>,
    ) -> Result<Response<DeleteUserResponse>, Status> {
        not_imitated()
    }

    async fn list_user_changes(
        &self,
        _: Request<ListUserChangesRequest>,
    ) -> Result<Response<ListUserChangesResponse>, Status> {
        not_imitated()
    }

    async fn reactivate_user(
        &self,
        _: Request<ReactivateUserRequest>,
    ) -> Result<Response<ReactivateUserResponse>, Status> {
        not_imitated()
    }

    async fn change_email(
        &self,
        _: Request<ChangeEmailRequest>,
    ) -> Result<Response<ChangeEmailResponse>, Status> {
        not_imitated()
    }

    async fn change_password(
        &self,
        _: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        not_imitated()
    }

    async fn reset_password(
        &self,
        _: Request<ResetPasswordRequest>,
    ) -> Result<Response<ResetPasswordResponse>, Status> {
        not_imitated()
    }

    async fn change_user_role(
        &self,
        _: Request<ChangeUserRoleRequest>,
    ) -> Result<Response<ChangeUserRoleResponse>, Status> {
        not_imitated()
    }

    async fn verify_password(
        &self,
        _: Request<VerifyPasswordRequest>,
    ) -> Result<Response<VerifyPasswordResponse>, Status> {
        not_imitated()
    }

    async fn snapshot_users(
        &self,
        _: Request<SnapshotUsersRequest>,
    ) -> Result<Response<Self::SnapshotUsersStream>, Status> {
        let head = self.1.now();
        let head = SnapshotUsersResponse {
            epoch: head.epoch.to_string(),
            position: head.position,
            event_id: head.event_id.map(|id| id.to_string()).unwrap_or_default(),
            users: Vec::new(),
        };
        let users = self.0.users.lock().unwrap().values().cloned().collect();
        let page = SnapshotUsersResponse { users, ..SnapshotUsersResponse::default() };
        Ok(Response::new(Box::pin(tokio_stream::iter([Ok(head), Ok(page)]))))
    }
}

#[tonic::async_trait]
impl WalletService for Server {
    async fn get_hold(&self, request: Request<GetHoldRequest>) -> Result<Response<GetHoldResponse>, Status> {
        let transfer_id = request.into_inner().transfer_id;
        let holds = self.0.holds.lock().unwrap();
        let holds = holds.as_ref().ok_or_else(|| Status::unavailable("away"))?;
        match holds.get(&transfer_id) {
            Some(known) => Ok(Response::new(known.clone())),
            None => Err(Refusal::new(
                Code::NotFound,
                &api::user::v1::ErrorReason::HoldNotFound,
                "there is no such hold",
            )
            .resource("hold", transfer_id)
            .into_status()),
        }
    }

    async fn get_wallet(&self, _: Request<GetWalletRequest>) -> Result<Response<GetWalletResponse>, Status> {
        not_imitated()
    }

    async fn list_wallet_entries(
        &self,
        _: Request<ListWalletEntriesRequest>,
    ) -> Result<Response<ListWalletEntriesResponse>, Status> {
        not_imitated()
    }

    async fn grant_credit(
        &self,
        _: Request<GrantCreditRequest>,
    ) -> Result<Response<GrantCreditResponse>, Status> {
        not_imitated()
    }

    async fn send_credit(
        &self,
        _: Request<SendCreditRequest>,
    ) -> Result<Response<SendCreditResponse>, Status> {
        not_imitated()
    }

    async fn freeze_wallet(
        &self,
        _: Request<FreezeWalletRequest>,
    ) -> Result<Response<FreezeWalletResponse>, Status> {
        not_imitated()
    }

    async fn unfreeze_wallet(
        &self,
        _: Request<UnfreezeWalletRequest>,
    ) -> Result<Response<UnfreezeWalletResponse>, Status> {
        not_imitated()
    }

    async fn set_wallet_limits(
        &self,
        _: Request<SetWalletLimitsRequest>,
    ) -> Result<Response<SetWalletLimitsResponse>, Status> {
        not_imitated()
    }

    async fn get_trial_balance(
        &self,
        _: Request<GetTrialBalanceRequest>,
    ) -> Result<Response<GetTrialBalanceResponse>, Status> {
        not_imitated()
    }
}

#[tonic::async_trait]
impl SessionService for Server {
    async fn validate_session(
        &self,
        request: Request<ValidateSessionRequest>,
    ) -> Result<Response<ValidateSessionResponse>, Status> {
        let token = request.into_inner().access_token;
        let Some((user_id, role)) = self.0.sessions.lock().unwrap().get(&token).copied() else {
            let reason = Common::InvalidCredentials;
            return Err(Refusal::new(Code::Unauthenticated, &reason, "no").into_status());
        };
        let expires = std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        Ok(Response::new(ValidateSessionResponse {
            session_id: Uuid::now_v7().to_string(),
            user_id: user_id.to_string(),
            role: role.into(),
            access_expire_time: Some(expires.into()),
        }))
    }

    async fn login(&self, _: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        not_imitated()
    }

    async fn refresh_session(
        &self,
        _: Request<RefreshSessionRequest>,
    ) -> Result<Response<RefreshSessionResponse>, Status> {
        not_imitated()
    }

    async fn list_sessions(
        &self,
        _: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        not_imitated()
    }

    async fn revoke_session(
        &self,
        _: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        not_imitated()
    }

    async fn revoke_all_sessions(
        &self,
        _: Request<RevokeAllSessionsRequest>,
    ) -> Result<Response<RevokeAllSessionsResponse>, Status> {
        not_imitated()
    }
}
