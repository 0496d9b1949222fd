//! What every test starts with, and what people and services do.

use std::time::Duration;

use api::event::v1::event_service_client::EventServiceClient;
use api::session::v1::session_service_client::SessionServiceClient;
use api::session::v1::{
    ListSessionsRequest, ListSessionsResponse, LoginRequest, LoginResponse, RefreshSessionRequest,
    RefreshSessionResponse, RevokeAllSessionsRequest, RevokeAllSessionsResponse, RevokeSessionRequest,
    RevokeSessionResponse, ValidateSessionRequest, ValidateSessionResponse,
};
use events::{Event, EventLog as _};
use runtime::config::parse_from;
use runtime::server::{Running, start_in_process};
use session_service::{Action, Command, Config, DOMAIN, LISTEN, SessionService, Store};
use testkit::{RedisAdmin, TestRedis};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;
use types::{Role, UserId};
use uuid::Uuid;

use crate::peer::{Peer, User};

/// Session service's own token, which its peer wants.
pub(crate) const SERVICE_TOKEN: &str = "5e551045e7c1ce0123456789abcdef5e551045e7";
/// User service's, which session service wants.
pub(crate) const USER_TOKEN: &str = "05e75e7c1ce0123456789abcdef05e75e7c1ce01";
/// How long a test waits for what happens in the background.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// One session service with its Redis and its user service.
pub(crate) struct Harness {
    pub(crate) peer: Peer,
    pub(crate) store: Store,
    pub(crate) channel: Channel,
    pub(crate) admin: RedisAdmin,
    pub(crate) database: u32,
    pub(crate) session: Running,
    _peer_server: Running,
    _databases: Vec<TestRedis>,
}

/// Tokens of somebody.
pub(crate) type LoggedIn = LoginResponse;

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more arguments on the command line.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let sessions = TestRedis::sessions().await.unwrap();
        let mut harness = Self::start_on(sessions.url(), arguments).await;
        harness._databases.push(sessions);
        harness
    }

    /// On a Redis of the test's own.
    pub(crate) async fn start_on(redis_url: &str, arguments: &[&str]) -> Self {
        let events = TestRedis::events().await.unwrap();
        let mut harness = Self::start_between(redis_url, events.url(), arguments).await;
        harness._databases.push(events);
        harness
    }

    pub(crate) async fn start_between(redis_url: &str, events_url: &str, arguments: &[&str]) -> Self {
        Self::start_by_setting(redis_url, redis_url, events_url, arguments).await
    }

    /// On the Redis of `redis_url`, which `setting` names to the service.
    pub(crate) async fn start_by_setting(
        setting: &str,
        redis_url: &str,
        events_url: &str,
        arguments: &[&str],
    ) -> Self {
        let (peer, peer_server) = Peer::start().await;
        let service = service(setting, events_url, &peer_server.url(), arguments);
        let store = service.store().unwrap();
        let config = runtime::config::ServerConfig::for_tests();
        let session = start_in_process(config, DOMAIN, |core| service.start(core)).await.unwrap();
        let channel = Endpoint::from_shared(session.url()).unwrap().connect_lazy();
        let database =
            redis_url.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        // Behind Sentinels there is no one server to command.
        let direct = redis_url.replacen("-sentinel", "", 1);
        let admin = RedisAdmin::new(direct.split(',').next().unwrap()).unwrap();
        let _databases = Vec::new();
        Self { peer, store, channel, admin, database, session, _peer_server: peer_server, _databases }
    }

    /// The URL of the sessions' Redis.
    pub(crate) fn url(&self) -> String {
        self.admin.url(self.database)
    }

    /// Calls without credentials.
    pub(crate) fn client(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone())
    }

    /// Calls without credentials, from another address of this machine: `127.0.0.<host>`.
    pub(crate) fn client_from(&self, host: u8) -> SessionServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(self.session.url()).unwrap();
        SessionServiceClient::new(endpoint.local_address(Some([127, 0, 0, host].into())).connect_lazy())
    }

    /// Somebody new, logged in.
    pub(crate) async fn somebody(&self) -> (User, LoggedIn) {
        self.somebody_as(Role::Customer).await
    }

    pub(crate) async fn somebody_as(&self, role: Role) -> (User, LoggedIn) {
        let user = self.peer.sign_up(role);
        let login = self.log_in(&user).await.unwrap();
        (user, login)
    }

    pub(crate) async fn log_in(&self, user: &User) -> Result<LoggedIn, Status> {
        self.try_password(&user.email, &user.password).await
    }

    pub(crate) async fn try_password(&self, email: &str, password: &str) -> Result<LoggedIn, Status> {
        Ok(self.client().login(login(email, password)).await?.into_inner())
    }

    /// The same from another address of this machine.
    pub(crate) async fn try_from(&self, host: u8, email: &str, password: &str) -> Result<LoggedIn, Status> {
        Ok(self.client_from(host).login(login(email, password)).await?.into_inner())
    }

    /// What user service hears about a token.
    pub(crate) async fn validate(&self, access_token: &str) -> Result<ValidateSessionResponse, Status> {
        let request = ValidateSessionRequest { access_token: access_token.to_owned() };
        Ok(self.client().validate_session(bearer(request, USER_TOKEN)).await?.into_inner())
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Result<RefreshSessionResponse, Status> {
        let request = RefreshSessionRequest { refresh_token: refresh_token.to_owned() };
        Ok(self.client().refresh_session(request).await?.into_inner())
    }

    pub(crate) async fn list(
        &self,
        by: &LoggedIn,
        request: ListSessionsRequest,
    ) -> Result<ListSessionsResponse, Status> {
        Ok(self.client().list_sessions(bearer(request, &by.access_token)).await?.into_inner())
    }

    /// The ids of the caller's sessions.
    pub(crate) async fn own_sessions(&self, by: &LoggedIn) -> Vec<String> {
        let answer = self.list(by, ListSessionsRequest::default()).await.unwrap();
        answer.sessions.into_iter().map(|session| session.id).collect()
    }

    pub(crate) async fn revoke(
        &self,
        by: &LoggedIn,
        request: RevokeSessionRequest,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        self.client().revoke_session(bearer(request, &by.access_token)).await
    }

    pub(crate) async fn revoke_all(
        &self,
        by: &LoggedIn,
        request: RevokeAllSessionsRequest,
    ) -> Result<Response<RevokeAllSessionsResponse>, Status> {
        self.client().revoke_all_sessions(bearer(request, &by.access_token)).await
    }

    /// Calls of the event service, as user service.
    pub(crate) fn event_client(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone())
    }

    /// All events of a user's stream, from the oldest that is left.
    pub(crate) async fn events_of(&self, user: UserId) -> Vec<Event> {
        self.store.read_after(&stream_of(user), 0, 100_000).await.unwrap()
    }

    /// A Redis command on the database of the sessions.
    pub(crate) async fn redis(&self, command: &[&str]) -> String {
        self.admin.run(self.database, command).await.unwrap()
    }
}

fn login(email: &str, password: &str) -> LoginRequest {
    let (email, password) = (email.to_owned(), password.to_owned());
    LoginRequest { email, password, client_name: "a test".to_owned() }
}

/// A service of this configuration.
pub(crate) fn service(
    redis_url: &str,
    events_url: &str,
    user_url: &str,
    arguments: &[&str],
) -> SessionService {
    SessionService::new(configuration(redis_url, events_url, user_url, arguments)).unwrap()
}

/// What these arguments say.
pub(crate) fn configuration(redis_url: &str, events_url: &str, user_url: &str, arguments: &[&str]) -> Config {
    let tokens = format!("user-service={USER_TOKEN}");
    let mut line = vec![
        "session-service",
        "serve",
        "--redis-session-url",
        redis_url,
        "--redis-events-url",
        events_url,
        "--user-url",
        user_url,
        "--service-token",
        SERVICE_TOKEN,
        "--service-tokens",
        &tokens,
        // A machine that runs all tests at once is slow; what is about the limit sets it itself.
        "--redis-command-timeout",
        "5s",
    ];
    if arguments.contains(&"--redis-command-timeout") {
        line.truncate(line.len() - 2);
    }
    line.extend(arguments);
    match parse_from::<Command, _>(LISTEN, line).unwrap().action {
        Action::Serve(config) => *config,
        _ => unreachable!("the line says serve"),
    }
}

/// The stream that tells of a user's sessions.
pub(crate) fn stream_of(user: UserId) -> String {
    format!("session-{:02}", user.uuid().as_bytes()[15] % 16)
}

/// A user id in this partition.
pub(crate) fn user_in(partition: u8) -> UserId {
    let mut bytes = *Uuid::now_v7().as_bytes();
    bytes[15] = bytes[15] & 0xf0 | partition;
    UserId::from_uuid(Uuid::from_bytes(bytes))
}

pub(crate) fn bearer<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

pub(crate) fn request_id() -> String {
    Uuid::now_v7().to_string()
}

/// Code and reason of a refusal; checks that it is complete.
pub(crate) fn refusal(status: &Status) -> (Code, String) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, DOMAIN);
    assert!(details.request_info().is_some(), "no RequestInfo: {status:?}");
    (status.code(), info.reason.clone())
}

/// Everything that a caller can tell of a refusal, but for the id of the trace.
pub(crate) fn whole(status: &Status) -> (Code, String, String) {
    let mut details = status.get_error_details();
    details.set_request_info("", "");
    (status.code(), status.message().to_owned(), format!("{details:?}"))
}

pub(crate) fn refused(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

/// The violations of a refusal: field and rule.
pub(crate) fn violations(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().unwrap().field_violations;
    violations.iter().map(|violation| format!("{} {}", violation.field, violation.reason)).collect()
}

pub(crate) fn is_replay<T>(response: &Response<T>) -> bool {
    response.metadata().get("idempotent-replay").is_some_and(|value| value == "true")
}
