//! User service, as session service sees it: it checks passwords and tells of users. What it says is set by the
//! test; that it speaks gRPC, wants our service token and keeps an event log is real.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use api::common::v1::ErrorReason;
use api::refusal::Refusal;
use api::user::v1::user_service_server::{UserService, UserServiceServer};
use api::user::v1::*;
use auth::token::AccessToken;
use auth::{AuthLayer, PolicyTable, ServiceTokens, SessionVerifier, Verified, VerifyError};
use events::service::EventServer;
use events::{Aggregate, Event, EventLog, Head, Headers, NewEvent, Position, Resolved, StoreError};
use runtime::config::ServerConfig;
use runtime::health::Readiness;
use runtime::server::{Running, Service, start_in_process};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use types::{EventId, Role, UserId};
use uuid::Uuid;

use crate::harness::SERVICE_TOKEN;

/// A user service of one test.
#[derive(Clone)]
pub(crate) struct Peer(Arc<State>);

struct State {
    users: Mutex<HashMap<String, User>>,
    /// What every check answers with instead of a check.
    trouble: Mutex<Option<Status>>,
    checks: Mutex<usize>,
    /// Each answer of a check takes one of these out.
    gate: Semaphore,
    log: Mutex<Log>,
}

struct Log {
    epoch: Uuid,
    events: Vec<Event>,
    /// Events up to here are pruned.
    pruned_through: Position,
}

/// Somebody who can log in.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) role: Role,
    pub(crate) auth_epoch: i64,
    pub(crate) is_active: bool,
}

impl Peer {
    pub(crate) async fn start() -> (Self, Running) {
        let tokens = ServiceTokens::parse(&format!("session-service={SERVICE_TOKEN}").into()).unwrap();
        Self::start_on(ServerConfig::for_tests(), tokens).await
    }

    /// With another server, which knows these tokens.
    pub(crate) async fn start_on(config: ServerConfig, tokens: ServiceTokens) -> (Self, Running) {
        let peer = Self(Arc::new(State {
            users: Mutex::default(),
            trouble: Mutex::default(),
            checks: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            log: Mutex::new(Log { epoch: Uuid::new_v4(), events: Vec::new(), pruned_through: 0 }),
        }));
        let served = peer.clone();
        let start = async move |core: runtime::server::Core| {
            let events = EventServer::new(served.clone(), core.shutdown.clone());
            let routes = Routes::new(UserServiceServer::new(served)).add_service(events.into_service());
            let policies = PolicyTable::for_services(&["user.v1.UserService", "event.v1.EventService"])?;
            let auth = AuthLayer::new(policies, tokens, Nobody);
            anyhow::Ok(Service { routes, auth, layers: Vec::new(), ready: Readiness::always() })
        };
        let running = start_in_process(config, "user.tristore", start).await.unwrap();
        (peer, running)
    }

    /// A new user.
    pub(crate) fn sign_up(&self, role: Role) -> User {
        self.sign_up_as(UserId::from_uuid(Uuid::now_v7()), role)
    }

    /// A new user with this id.
    pub(crate) fn sign_up_as(&self, id: UserId, role: Role) -> User {
        let user = User {
            id,
            email: format!("{id}@example.com"),
            password: "correct horse battery staple".to_owned(),
            role,
            auth_epoch: 0,
            is_active: true,
        };
        self.users().insert(user.email.clone(), user.clone());
        user
    }

    /// Changes the role, as an admin does.
    pub(crate) fn change_role(&self, user: &User, role: Role) {
        let auth_epoch = self.raise(user, |user| user.role = role);
        let role = api::auth::v1::Role::from(role).into();
        self.append(user.id, &UserRoleChanged { user_id: user.id.to_string(), role, auth_epoch });
    }

    /// Deactivates, as an admin does.
    pub(crate) fn deactivate(&self, user: &User) {
        let auth_epoch = self.raise(user, |user| user.is_active = false);
        self.append(user.id, &UserDeactivated { user_id: user.id.to_string(), auth_epoch });
    }

    /// Deletes, as an admin does.
    pub(crate) fn delete(&self, user: &User) {
        let auth_epoch = self.raise(user, |user| user.is_active = false);
        self.append(user.id, &UserDeleted { user_id: user.id.to_string(), auth_epoch });
    }

    /// Sets another password, as an admin does; returns the user who has it.
    pub(crate) fn set_password(&self, user: &User, password: &str) -> User {
        let auth_epoch = self.raise(user, |user| password.clone_into(&mut user.password));
        self.append(user.id, &UserPasswordChanged { user_id: user.id.to_string(), auth_epoch });
        self.users()[&user.email].clone()
    }

    fn raise(&self, user: &User, change: impl FnOnce(&mut User)) -> i64 {
        let mut users = self.users();
        let user = users.get_mut(&user.email).unwrap();
        change(user);
        user.auth_epoch += 1;
        user.auth_epoch
    }

    /// Every check answers with this, or checks again.
    pub(crate) fn trouble(&self, trouble: Option<Status>) {
        *self.0.trouble.lock().unwrap() = trouble;
    }

    /// How often a password was checked.
    pub(crate) fn checks(&self) -> usize {
        *self.0.checks.lock().unwrap()
    }

    /// From now on the answers of checks wait, decided already, until they are let go.
    pub(crate) fn hold(&self) {
        self.0.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn let_go(&self) {
        self.0.gate.add_permits(Semaphore::MAX_PERMITS - self.0.gate.available_permits());
    }

    /// Appends an event to stream `user`.
    pub(crate) fn append<M: prost::Message + prost::Name>(&self, user: UserId, payload: &M) {
        let mut log = self.log();
        let headers = Headers { request_id: Some(Uuid::now_v7()), ..Headers::default() };
        let id = EventId::from_uuid(Uuid::now_v7());
        let aggregate = Aggregate::new("user", user);
        let version = log.head() + 1;
        let event = Event {
            stream: "user".to_owned(),
            epoch: log.epoch,
            position: version,
            previous: log.events.last().map(|event| event.new.id),
            new: NewEvent::new(id, aggregate, version, payload, headers, OffsetDateTime::UNIX_EPOCH),
        };
        log.events.push(event);
    }

    /// Forgets the events up to a position.
    pub(crate) fn prune(&self, through: Position) {
        self.log().pruned_through = through;
    }

    /// Puts users and events back to what they were at this head, as a restored backup does.
    pub(crate) fn restore(&self, head: Position, user: &User) {
        let mut log = self.log();
        log.events.truncate(usize::try_from(head).unwrap());
        log.epoch = Uuid::new_v4();
        self.users().insert(user.email.clone(), user.clone());
    }

    /// The newest position.
    pub(crate) fn head_position(&self) -> Position {
        self.log().head()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap()
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, User>> {
        self.0.users.lock().unwrap()
    }
}

#[tonic::async_trait]
impl UserService for Peer {
    async fn verify_password(
        &self,
        request: Request<VerifyPasswordRequest>,
    ) -> Result<Response<VerifyPasswordResponse>, Status> {
        let request = request.into_inner();
        *self.0.checks.lock().unwrap() += 1;
        let trouble = self.0.trouble.lock().unwrap().clone();
        let user = self.users().get(&request.email).cloned();
        // The answer is decided here; at the gate it is on its way.
        self.0.gate.acquire().await.unwrap().forget();
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        let user =
            user.filter(|user| user.password == request.password && user.is_active).ok_or_else(|| {
                let reason = ErrorReason::InvalidCredentials;
                Refusal::new(Code::Unauthenticated, &reason, "not the right password").into_status()
            })?;
        Ok(Response::new(VerifyPasswordResponse {
            user_id: user.id.to_string(),
            role: api::auth::v1::Role::from(user.role).into(),
            auth_epoch: user.auth_epoch,
        }))
    }

    async fn create_user(
        &self,
        _: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn get_user(&self, _: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn get_user_by_username(
        &self,
        _: Request<GetUserByUsernameRequest>,
    ) -> Result<Response<GetUserByUsernameResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn get_user_by_email(
        &self,
        _: Request<GetUserByEmailRequest>,
    ) -> Result<Response<GetUserByEmailResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn batch_get_users(
        &self,
        _: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn list_users(&self, _: Request<ListUsersRequest>) -> Result<Response<ListUsersResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn search_users(
        &self,
        _: Request<SearchUsersRequest>,
    ) -> Result<Response<SearchUsersResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn stream_users(
        &self,
        _: Request<StreamUsersRequest>,
    ) -> Result<Response<Self::StreamUsersStream>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn update_user(
        &self,
        _: Request<UpdateUserRequest>,
    ) -> Result<Response<UpdateUserResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn deactivate_user(
        &self,
        _: Request<DeactivateUserRequest>,
    ) -> Result<Response<DeactivateUserResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn delete_user(
        &self,
        _: Request<DeleteUserRequest>,
    ) -> Result<Response<DeleteUserResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn list_user_changes(
        &self,
        _: Request<ListUserChangesRequest>,
    ) -> Result<Response<ListUserChangesResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn reactivate_user(
        &self,
        _: Request<ReactivateUserRequest>,
    ) -> Result<Response<ReactivateUserResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn change_email(
        &self,
        _: Request<ChangeEmailRequest>,
    ) -> Result<Response<ChangeEmailResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn change_password(
        &self,
        _: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn reset_password(
        &self,
        _: Request<ResetPasswordRequest>,
    ) -> Result<Response<ResetPasswordResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    async fn change_user_role(
        &self,
        _: Request<ChangeUserRoleRequest>,
    ) -> Result<Response<ChangeUserRoleResponse>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }

    type SnapshotUsersStream = futures_util::stream::Empty<Result<SnapshotUsersResponse, Status>>;
    type StreamUsersStream = futures_util::stream::Empty<Result<StreamUsersResponse, Status>>;

    async fn snapshot_users(
        &self,
        _: Request<SnapshotUsersRequest>,
    ) -> Result<Response<Self::SnapshotUsersStream>, Status> {
        Err(Status::unimplemented("not asked for by session service"))
    }
}

impl Log {
    fn head(&self) -> Position {
        i64::try_from(self.events.len()).unwrap()
    }

    fn kept(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.position > self.pruned_through)
    }
}

impl EventLog for Peer {
    async fn head(&self, stream: &str) -> Result<Option<Head>, StoreError> {
        let log = self.log();
        Ok((stream == "user").then(|| Head {
            stream: stream.to_owned(),
            epoch: log.epoch,
            position: log.head(),
            event_id: log.events.last().map(|event| event.new.id),
            oldest: log.kept().next().map_or(0, |event| event.position),
        }))
    }

    async fn read_after(&self, _: &str, after: Position, limit: usize) -> Result<Vec<Event>, StoreError> {
        let log = self.log();
        let next = log.kept().filter(|event| event.position > after).take(limit);
        let epoch = log.epoch;
        let events = next.cloned().map(|event| Event { epoch, ..event }).collect::<Vec<_>>();
        Ok(if events.first().is_some_and(|event| event.position > after + 1) { Vec::new() } else { events })
    }

    async fn event_id_at(&self, _: &str, position: Position) -> Result<Option<EventId>, StoreError> {
        Ok(self.log().kept().find(|event| event.position == position).map(|event| event.new.id))
    }

    async fn resolve(&self, _: EventId) -> Result<Resolved, StoreError> {
        Ok(Resolved::Unknown)
    }

    async fn acknowledge(
        &self,
        stream: &str,
        consumer: &str,
        _: Uuid,
        _: Position,
    ) -> Result<bool, StoreError> {
        Ok(stream == "user" && consumer == "session.revocations")
    }
}

/// Only services call user service here.
#[derive(Debug, Clone)]
struct Nobody;

impl SessionVerifier for Nobody {
    async fn verify(&self, _: &AccessToken) -> Result<Verified, VerifyError> {
        Err(VerifyError::Invalid)
    }
}
