//! The set-up of a bench: the whole system, a floor beside each service, and users with products and credit.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::auth::v1::Role;
use api::order::v1::CreateProductRequest;
use measurement::Round;
use nix::sys::signal::Signal;
use testkit::client::{Api, PASSWORD, Person, eur, request_id};
use testkit::{
    DatabaseOptions, DatabaseUrls, Launch, Lifetime, MongoKind, Process, Profile, ReservedPort, ServiceName,
    ServiceOptions, Stack, State, serving, state, wait_until,
};
use tokio::process::Command;

use super::encrypted::Encrypted;
use crate::local::ADMIN_EMAIL;

const SERVES_WITHIN: Duration = Duration::from_secs(30);
/// Longer than any bench, so that no session ends in the middle of it.
const LIVES: [(&str, &str); 2] = [("ACCESS_TOKEN_LIFE", "4h"), ("SESSION_IDLE_LIFE", "8h")];
const STOCK: i64 = 1_000_000;
/// The package with the load generator and the floors.
const LOAD: &str = "load";
const FLOOR: &str = "floor";

/// A bare server beside a service.
struct Floor {
    process: Process,
    url: String,
}

/// The running system with its floors.
pub(crate) struct Stage {
    pub(crate) stack: Stack,
    pub(crate) api: Api,
    pub(crate) admin: Person,
    floors: Vec<(ServiceName, Floor)>,
    urls: DatabaseUrls,
    profile: Profile,
    state: Arc<State>,
    /// Only while it is measured.
    encrypted: Option<Encrypted>,
    /// Users that were written without the service.
    seeded: usize,
}

/// A side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Floor,
    /// Ours, with TLS.
    Encrypted,
}

/// A process that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Service(ServiceName),
    Floor(ServiceName),
    /// User service with TLS.
    Encrypted,
    Postgres,
    Mongo,
    RedisSession,
    RedisEvents,
}

impl Part {
    /// Its name in the result of a round.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Service(name) => name.to_string(),
            Self::Floor(name) => format!("{name}-floor"),
            Self::Encrypted => format!("{}-tls", ServiceName::User),
            Self::Postgres => "PostgreSQL".to_owned(),
            Self::Mongo => "MongoDB".to_owned(),
            Self::RedisSession => "Redis of sessions".to_owned(),
            Self::RedisEvents => "Redis of events".to_owned(),
        }
    }
}

impl Stage {
    /// Builds services and floors.
    pub(crate) async fn build(profile: Profile) -> Result<()> {
        let packages = ServiceName::ALL.iter().map(|name| name.binary()).chain([LOAD]);
        profile.build(&packages.collect::<Vec<_>>()).await
    }

    /// Takes services and floors as they were built before.
    pub(crate) async fn take_built(profile: Profile) -> Result<()> {
        let programs = ServiceName::ALL.iter().map(|name| name.binary()).chain([LOAD, FLOOR]);
        profile.take_built(&programs.collect::<Vec<_>>()).await
    }

    /// Starts the system, with these settings in the environment of every service.
    pub(crate) async fn start(profile: Profile, settings: &[(String, String)]) -> Result<Self> {
        let state = Arc::new(State::for_run(&state::base()).await?);
        let databases = DatabaseOptions { test_commands: false, ..DatabaseOptions::default() };
        let lives = LIVES.map(|(name, life)| (ServiceName::Session, name.to_owned(), life.to_owned()));
        let of_all = settings
            .iter()
            .flat_map(|(name, value)| ServiceName::ALL.map(|service| (service, name.clone(), value.clone())));
        let env = lives.into_iter().chain(of_all).collect();
        let services = ServiceOptions { profile, threads: None, env, ..ServiceOptions::default() };
        let stack = Stack::start(Arc::clone(&state), databases, &services).await?;
        stack.services.bootstrap_admin(ADMIN_EMAIL, "Admin", PASSWORD).await?;
        let api = Api::of(&stack.services)?;
        let admin = wait_until(SERVES_WITHIN, "the first login", async || {
            api.log_in(ADMIN_EMAIL, PASSWORD).await.map_err(|error| format!("{error:#}"))
        })
        .await?;
        let urls = stack.databases.urls_for_services().await?;
        Ok(Self { stack, api, admin, floors: Vec::new(), urls, profile, state, encrypted: None, seeded: 0 })
    }

    /// Starts the floor of a service, if it does not run yet.
    pub(crate) async fn floor(&mut self, of: ServiceName, more: &[String]) -> Result<()> {
        if self.floors.iter().any(|(name, _)| *name == of) {
            return Ok(());
        }
        let port = ReservedPort::any()?.release();
        let which = match of {
            ServiceName::User => "user",
            ServiceName::Order => "order",
            ServiceName::Session => "session",
        };
        let mut args: Vec<OsString> = vec!["--listen".into(), format!("127.0.0.1:{port}").into()];
        args.extend(["--threads".into(), cores().to_string().into(), which.into()]);
        args.extend(more.iter().map(OsString::from));
        let env = [
            ("MONGODB_URL", self.urls.mongodb.clone()),
            ("POSTGRES_URL", self.urls.postgres.clone()),
            ("REDIS_SESSION_URL", self.urls.redis_session.clone()),
            ("USER_URL", self.floor_url(ServiceName::User).unwrap_or_default().to_owned()),
        ];
        let name = Part::Floor(of).name();
        let launch = Launch {
            name: name.clone(),
            program: self.profile.binary(FLOOR)?,
            args,
            env: env.map(|(name, value)| (name.to_owned(), value)).into(),
            folder: self.state.root().to_path_buf(),
            account: None,
            lifetime: Lifetime::WithParent,
            last_signal: Signal::SIGKILL,
            log: self.state.log(&name),
            pid_file: self.state.pid_file(&name),
        };
        let (process, url) = (Process::start(launch)?, format!("http://127.0.0.1:{port}"));
        let log = || format!("the log of {name} ends:\n{}", process.log().tail(15));
        wait_until(SERVES_WITHIN, &name, async || serving(&url).await).await.with_context(log)?;
        self.floors.push((of, Floor { process, url }));
        Ok(())
    }

    fn floor_url(&self, of: ServiceName) -> Option<&str> {
        self.floors.iter().find(|(name, _)| *name == of).map(|(_, floor)| floor.url.as_str())
    }

    /// Runs `load` for one round, and returns what it measured.
    pub(crate) async fn load(&self, side: Side, watch: &[Part], args: &[String]) -> Result<Round> {
        let mut command = Command::from(testkit::tool(self.profile.binary(LOAD)?));
        command.args(["--output", "json"]).kill_on_drop(true);
        for (variable, name) in [
            ("USER_URL", ServiceName::User),
            ("ORDER_URL", ServiceName::Order),
            ("SESSION_URL", ServiceName::Session),
        ] {
            let url = match side {
                Side::Ours | Side::Encrypted => self.stack.services.get(name).url(),
                Side::Floor => self.floor_url(name).unwrap_or_default().to_owned(),
            };
            command.env(variable, url);
        }
        if side == Side::Encrypted {
            let encrypted = self.encrypted.as_ref().context("nobody speaks TLS")?;
            command.env("USER_URL", format!("https://{}", encrypted.service.address()));
            command.env("TLS_CA", &encrypted.ca);
        }
        // What moves bare events has collections of its own, which a service may not have.
        command.env("POSTGRES_URL", &self.urls.postgres).env("MONGODB_URL", &self.urls.mongodb_migrate);
        command.env("REDIS_EVENTS_URL", &self.urls.redis_events);
        for part in watch {
            let pid = self.process(*part)?.pid().with_context(|| format!("{} has ended", part.name()))?;
            command.arg("--watch").arg(format!("{}={pid}", part.name()));
        }
        let output = command.args(args).output().await.context("running load")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let failed = || format!("load: {text}{}", String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), failed());
        serde_json::from_str(&text).with_context(failed)
    }

    fn process(&self, part: Part) -> Result<&Process> {
        let databases = &self.stack.databases;
        Ok(match part {
            Part::Service(name) => self.stack.services.get(name).process(),
            Part::Floor(of) => {
                let floor = self.floors.iter().find(|(name, _)| *name == of);
                &floor.with_context(|| format!("{of} has no floor"))?.1.process
            }
            Part::Encrypted => self.encrypted.as_ref().context("nobody speaks TLS")?.service.process(),
            Part::Postgres => databases.postgres.process(),
            Part::Mongo => databases.mongo.process(),
            Part::RedisSession => databases.redis_session.process(),
            Part::RedisEvents => databases.redis_events.as_ref().context("no Redis for events")?.process(),
        })
    }

    /// Which program stands behind user service.
    pub(crate) fn mongo(&self) -> MongoKind {
        self.stack.databases.mongo.kind()
    }

    /// Writes users and posts straight into the database, if there are not so many yet.
    pub(crate) async fn seed(&mut self, users: usize) -> Result<()> {
        if users > self.seeded {
            let more = (users - self.seeded).to_string();
            self.load(Side::Ours, &[], &["seed".to_owned(), "--users".to_owned(), more]).await?;
            self.seeded = users;
        }
        Ok(())
    }

    /// Starts another process of user service, which speaks TLS.
    pub(crate) async fn encrypt(&mut self) -> Result<()> {
        let plain = self.stack.services.get(ServiceName::User);
        self.encrypted = Some(Encrypted::beside(plain, self.state.root()).await?);
        Ok(())
    }

    /// Ends it.
    pub(crate) async fn decrypt(&mut self) -> Result<()> {
        match self.encrypted.take() {
            Some(encrypted) => encrypted.service.stop().await,
            None => Ok(()),
        }
    }

    /// The token of user service, which session service accepts.
    pub(crate) fn service_token(&self) -> Result<String> {
        self.state.secret(&format!("{}.token", ServiceName::User))
    }

    /// Signs up a merchant.
    pub(crate) async fn seller(&self) -> Result<Person> {
        self.admin.make(&self.api.sign_up("Seller").await?, Role::Merchant).await
    }

    /// Signs up a customer with credit.
    pub(crate) async fn buyer(&self) -> Result<Person> {
        let buyer = self.api.sign_up("Buyer").await?;
        self.admin.grant(&buyer, eur(1_000_000_000)).await?;
        Ok(buyer)
    }

    /// Puts this many products of a seller on sale, and returns their ids.
    pub(crate) async fn products(&self, seller: &Person, count: usize) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for number in 0..count {
            let request = CreateProductRequest {
                request_id: request_id(),
                name: format!("Thing {number}"),
                unit_price: Some(eur(100)),
                stock: STOCK,
            };
            let answer = seller.caller.catalog().create_product(request).await.context("CreateProduct")?;
            ids.push(answer.into_inner().product.context("a product")?.id);
        }
        Ok(ids)
    }

    /// Stops everything, and removes the state folder.
    pub(crate) async fn stop(self) -> Result<()> {
        let Self { stack, floors, state, api, admin, .. } = self;
        drop((api, admin));
        for (_, floor) in &floors {
            floor.process.kill().await?;
        }
        stack.stop().await?;
        drop((stack, floors));
        Arc::into_inner(state).map_or(Ok(()), State::remove)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
