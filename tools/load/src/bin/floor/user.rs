//! The floor of user service. A user takes one find; a password takes two finds and Argon2, computed as user service
//! does: as many at once as there are cores, in memory that is kept for the next one. Otherwise the allocator would
//! keep such memory for every thread that ever computed a hash, hundreds of megabytes.

use std::num::NonZero;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::available_parallelism;

use anyhow::{Context as _, Result, ensure};
use api::auth::v1::Role;
use api::user::v1::user::State;
use api::user::v1::{GetUserRequest, GetUserResponse, User, VerifyPasswordRequest, VerifyPasswordResponse};
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use bson::doc;
use http::Request;
use mongodb::options::{ClientOptions, ReadConcern};
use mongodb::{Client, Collection, Database};
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tonic::body::Body;
use uuid::Uuid;

use crate::serve::{Answered, Floor, unary, unknown};

static CORES: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZero::get))));

/// Memory of earlier computations, for the next ones.
static MEMORY: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// What it needs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// User service's database.
    #[arg(long, env = "MONGODB_URL", hide_env_values = true)]
    mongodb_url: String,
}

/// Answers the calls.
#[derive(Clone)]
pub(crate) struct Users {
    users: Collection<UserRow>,
    credentials: Collection<CredentialRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct UserRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    email: String,
    email_key: String,
    display_name: String,
    role: String,
    state: String,
    auth_epoch: i64,
    post_count: i64,
    version: i64,
    event_version: i64,
    create_time: bson::DateTime,
    update_time: bson::DateTime,
}

#[derive(Debug, Serialize, Deserialize)]
struct CredentialRow {
    #[serde(rename = "_id")]
    user_id: bson::Uuid,
    password_hash: String,
}

impl Options {
    /// A client of its own for each runtime.
    pub(crate) async fn connect(self) -> Result<Database> {
        let mut options = ClientOptions::parse(self.mongodb_url).await?;
        options.read_concern = Some(ReadConcern::majority());
        Client::with_options(options)?.default_database().context("MONGODB_URL names no database")
    }
}

impl Users {
    pub(crate) fn of(database: &Database) -> Self {
        Self { users: database.collection("user"), credentials: database.collection("credential") }
    }

    async fn get(self, request: GetUserRequest) -> Result<GetUserResponse> {
        let id = bson::Uuid::from(request.user_id.parse::<Uuid>()?);
        let row = self.users.find_one(doc! { "_id": id }).await?.context("no such user")?;
        let user = User {
            id: request.user_id,
            display_name: row.display_name,
            state: if row.state == "active" { State::Active } else { State::Deactivated }.into(),
            create_time: Some(time(row.create_time)),
            update_time: Some(time(row.update_time)),
            etag: row.version.to_string(),
            post_count: row.post_count,
            version: row.event_version,
            ..User::default()
        };
        Ok(GetUserResponse { user: Some(user) })
    }

    async fn verify(self, request: VerifyPasswordRequest) -> Result<VerifyPasswordResponse> {
        let user =
            self.users.find_one(doc! { "email_key": &request.email }).await?.context("no such user")?;
        let credential = self.credentials.find_one(doc! { "_id": user.id }).await?.context("no password")?;
        let core = Arc::clone(&CORES).acquire_owned().await?;
        let verified = tokio::task::spawn_blocking(move || {
            let _core = core;
            matches(&credential.password_hash, request.password.as_bytes())
        });
        ensure!(verified.await??, "another password");
        let role = if user.role == "customer" { Role::Customer } else { Role::Merchant };
        let user_id = Uuid::from(user.id).to_string();
        Ok(VerifyPasswordResponse { user_id, role: role.into(), auth_epoch: user.auth_epoch })
    }
}

fn matches(hash: &str, password: &[u8]) -> Result<bool> {
    let hash = PasswordHash::new(hash)?;
    let (salt, expected) = hash.salt.zip(hash.hash).context("a hash without its salt")?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::try_from(&hash)?);
    let free = || MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let mut memory = free().pop().unwrap_or_default();
    memory.resize(argon2.params().block_count(), Block::new());
    let mut out = vec![0; expected.len()];
    argon2.hash_password_into_with_memory(password, &salt, &mut out, &mut memory)?;
    free().push(memory);
    Ok(Output::new(&out)? == expected)
}

pub(crate) fn time(time: bson::DateTime) -> Timestamp {
    let millis = time.timestamp_millis();
    let nanos = i32::try_from(millis.rem_euclid(1000)).unwrap_or_default() * 1_000_000;
    Timestamp { seconds: millis.div_euclid(1000), nanos }
}

impl Floor for Users {
    const NAME: &'static str = "user.v1.UserService";

    fn answer(self, request: Request<Body>) -> Answered {
        match request.uri().path() {
            "/user.v1.UserService/GetUser" => Box::pin(unary(request, |question| self.get(question))),
            "/user.v1.UserService/VerifyPassword" => {
                Box::pin(unary(request, |question| self.verify(question)))
            }
            _ => unknown(),
        }
    }
}
