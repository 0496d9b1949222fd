//! The floor of session service. A verification takes one GET. For a login, the floor of user service checks the
//! password, and session service's own script makes the session.

use anyhow::{Context as _, Result};
use api::auth::v1::Role;
use api::session::v1::session_revoked::Cause;
use api::session::v1::{
    LoginRequest, LoginResponse, Session, SessionCreated, SessionRevoked, ValidateSessionRequest,
    ValidateSessionResponse,
};
use api::user::v1::VerifyPasswordRequest;
use api::user::v1::user_service_client::UserServiceClient;
use data_encoding::HEXLOWER;
use http::Request;
use prost::Message as _;
use prost_types::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{Client, Script};
use sha2::{Digest as _, Sha256};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::serve::{Answered, Floor, unary, unknown};

const PRELUDE: &str = include_str!("../../../../../services/session/src/storage/scripts/prelude.lua");
const CREATE: &str = include_str!("../../../../../services/session/src/storage/scripts/session_create.lua");

// The same as session service's defaults, so that both keep the same amount of data in Redis.
const SESSIONS_PER_USER: u32 = 100;
const STREAM_LENGTH: u32 = 10_000;
/// In milliseconds.
const MINUTE: u64 = 60_000;

/// What it needs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Session service's Redis.
    #[arg(long, env = "REDIS_SESSION_URL", hide_env_values = true)]
    redis_session_url: String,
    /// The floor of user service.
    #[arg(long, env = "USER_URL")]
    user_url: String,
}

/// Answers the calls.
#[derive(Clone)]
pub(crate) struct Sessions {
    redis: MultiplexedConnection,
    users: UserServiceClient<Channel>,
    create: Script,
}

impl Sessions {
    pub(crate) async fn connect(options: Options) -> Result<Self> {
        let client = Client::open(options.redis_session_url.as_str())?;
        let redis = client.get_multiplexed_async_connection().await.context("connecting to Redis")?;
        let users = Endpoint::from_shared(options.user_url)?.tcp_nodelay(true).connect_lazy();
        let (shebang, body) = CREATE.split_once('\n').context("a script has more than one line")?;
        let create = Script::new(&format!("{shebang}\n{PRELUDE}\n{body}"));
        Ok(Self { redis, users: UserServiceClient::new(users), create })
    }

    async fn validate(mut self, request: ValidateSessionRequest) -> Result<ValidateSessionResponse> {
        let token = request.access_token.as_bytes();
        let partition = std::str::from_utf8(token.get(6..7).context("a token")?)?;
        let partition = u8::from_str_radix(partition, 16)?;
        let key = format!("{{s{partition:02}}}:access:{}", hash(token));
        let value: String = redis::Cmd::get(key).query_async(&mut self.redis).await?;
        let mut parts = value.split(' ');
        let mut part = || parts.next().context("a value with five parts");
        let (session_id, user_id) = (part()?.to_owned(), part()?.to_owned());
        let role = if part()? == "customer" { Role::Customer } else { Role::Merchant };
        let access_expire_time = Some(time(part()?.parse()?));
        Ok(ValidateSessionResponse { session_id, user_id, role: role.into(), access_expire_time })
    }

    async fn login(mut self, request: LoginRequest) -> Result<LoginResponse> {
        let question = VerifyPasswordRequest { email: request.email, password: request.password };
        let known = self.users.verify_password(question).await?.into_inner();
        let user: Uuid = known.user_id.parse()?;
        let number = user.as_bytes()[15] % 16;
        let (tag, user) = (format!("{{s{number:02}}}"), known.user_id);
        let session = Uuid::now_v7().to_string();
        let mut tokens = [b'a', b'r'].map(|kind| {
            let random: String = (0..43).map(|_| fastrand::alphanumeric()).collect();
            format!("ts_{}_0{number:x}_{random}_000000", char::from(kind))
        });
        let [access_hash, refresh_hash] = [0, 1].map(|at| hash(tokens[at].as_bytes()));
        let created = SessionCreated { session_id: session.clone(), user_id: user.clone() };
        let revoked = SessionRevoked {
            session_id: "s".repeat(36),
            user_id: "u".repeat(36),
            cause: Cause::TooMany.into(),
        };
        let mut call = self.create.key(format!("{tag}:stream"));
        call.key(format!("{tag}:events"))
            .key(format!("{tag}:user:{user}"))
            .key(format!("{tag}:sessions:{user}"))
            .key(format!("{tag}:session:{session}"))
            .key(format!("{tag}:access:{access_hash}"))
            .key(format!("{tag}:refresh:{refresh_hash}"));
        call.arg(Uuid::nil().to_string()).arg(STREAM_LENGTH).arg("").arg("");
        call.arg(&user).arg(&session).arg("customer").arg(known.auth_epoch).arg(&request.client_name);
        call.arg(access_hash).arg(refresh_hash);
        call.arg(15 * MINUTE).arg(30 * MINUTE).arg(720 * MINUTE).arg(MINUTE).arg(SESSIONS_PER_USER);
        call.arg(Uuid::now_v7().to_string()).arg(created.encode_to_vec()).arg(revoked.encode_to_vec());
        for _ in 0..4 {
            call.arg(Uuid::now_v7().to_string());
        }
        let (_, now, access_until, idle_until, expires_at): (String, i64, i64, i64, i64) =
            call.invoke_async(&mut self.redis).await?;
        let session = Session {
            id: session,
            user_id: user,
            client_name: request.client_name,
            create_time: Some(time(now)),
            use_time: Some(time(now)),
            idle_expire_time: Some(time(idle_until)),
            expire_time: Some(time(expires_at)),
            current: true,
        };
        Ok(LoginResponse {
            access_token: std::mem::take(&mut tokens[0]),
            access_expire_time: Some(time(access_until)),
            refresh_token: std::mem::take(&mut tokens[1]),
            session: Some(session),
        })
    }
}

fn hash(token: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(token))
}

fn time(millis: i64) -> Timestamp {
    let nanos = i32::try_from(millis.rem_euclid(1000)).unwrap_or_default() * 1_000_000;
    Timestamp { seconds: millis.div_euclid(1000), nanos }
}

impl Floor for Sessions {
    const NAME: &'static str = "session.v1.SessionService";

    fn answer(self, request: Request<Body>) -> Answered {
        match request.uri().path() {
            "/session.v1.SessionService/ValidateSession" => {
                Box::pin(unary(request, |question| self.validate(question)))
            }
            "/session.v1.SessionService/Login" => Box::pin(unary(request, |question| self.login(question))),
            _ => unknown(),
        }
    }
}
