//! What is looked at: the database of the URL, and a scratch database.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::atomic::AtomicBool;

use bson::{Bson, Document, doc};
use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::ClientOptions;
use runtime::doctor::Seen;
use secrecy::ExposeSecret as _;
use tokio::sync::OnceCell;
use types::chain;
use uuid::Uuid;

use super::recorder::Recorder;
use crate::config::{DoctorConfig, MongoConfig};
use crate::storage::{Shared, Store, UNAUTHORIZED, bounded_raw, classify, code, without_command};

/// What a server says of a parameter that it does not have.
pub(super) const INVALID_OPTIONS: i32 = 72;

/// An open database, and what is known of its server.
#[derive(Debug)]
pub struct Place {
    /// The database of the URL, with the login of the service.
    pub(super) store: Store,
    /// The same with the administrator's login, if there is one; it is only read.
    pub(super) read: Store,
    /// What the URL says.
    pub(super) said: ClientOptions,
    /// Whether the URL itself says where the user is.
    pub(super) says_source: bool,
    /// The server's greeting.
    pub(super) hello: Document,
    /// The version that it tells.
    pub(super) version: String,
    /// Whether it is the stand-in for MongoDB, which lacks some of it.
    pub(super) is_stand_in: bool,
    /// The settings of the service for it.
    pub(super) config: MongoConfig,
    pub(super) replicas: usize,
    pub(super) may_fail_over: bool,
    /// What is sent to the scratch database.
    pub(super) recorder: Recorder,
    /// The scratch database, which [`super::scratch`] makes, with the administrator's login, if there is one.
    pub(super) scratch: Store,
    /// Whether somebody has begun to make it.
    pub(super) is_begun: AtomicBool,
    /// Why it may not be made; `None` when it was.
    pub(super) refusal: OnceCell<Option<String>>,
    /// How many migrations each of two runs at once has applied, or why they could not.
    pub(super) migrated: OnceCell<Result<(usize, usize), String>>,
    /// The statements of the service, or why it could not send them.
    pub(super) statements: OnceCell<Result<Vec<Document>, String>>,
}

impl Place {
    /// Connects. One try: whoever looks wants to know what is so now.
    ///
    /// # Errors
    /// What was found instead.
    pub async fn open(config: &DoctorConfig) -> Result<Self, Seen> {
        let recorder = Recorder::default();
        let no_url = |error: crate::Error| Seen::failed(chain(&error), URL);
        let store = Store::connect(&config.mongo, Shared::default()).await.map_err(no_url)?;
        let admin_url = config.admin_url.as_ref().unwrap_or(&config.mongo.url);
        let as_admin = MongoConfig { url: admin_url.clone(), ..config.mongo.clone() };
        let heard = Some(recorder.handler());
        let admin = Store::connect_heard(&as_admin, Shared::default(), heard).await.map_err(no_url)?;
        let url = config.mongo.url.now();
        let url = url.expose_secret();
        let said = ClientOptions::parse(url).await.map_err(|error| unreachable(&error))?;
        let greeting = greeting(&said);
        let commands = store.client().database("admin");
        let hello = bounded_raw(commands.run_command(greeting)).await.map_err(|error| unreachable(&error))?;
        let build = bounded_raw(commands.run_command(doc! { "buildInfo": 1 }));
        let build = build.await.map_err(|error| unreachable(&error))?;
        if config.admin_url.is_some() {
            same_server(&hello, &admin).await?;
        }
        Ok(Self {
            read: admin.on_database(store.database().name()),
            scratch: admin.on_database(&format!("doctor_{}", Uuid::new_v4().simple())),
            store,
            said,
            says_source: url.to_lowercase().contains("authsource="),
            hello,
            version: build.get_str("version").unwrap_or("of an unknown version").to_owned(),
            is_stand_in: build.contains_key("secantusVersion"),
            config: config.mongo.clone(),
            replicas: config.options.replicas,
            may_fail_over: config.failover,
            recorder,
            is_begun: AtomicBool::new(false),
            refusal: OnceCell::new(),
            migrated: OnceCell::new(),
            statements: OnceCell::new(),
        })
    }

    /// Runs a command of the database `admin` with the login of the service.
    pub(super) async fn ask(&self, command: Document) -> Result<Document, DriverError> {
        bounded_raw(self.store.client().database("admin").run_command(command)).await
    }

    /// The same with whichever login may.
    pub(super) async fn ask_as_any(&self, command: Document) -> Result<Document, DriverError> {
        match self.ask(command.clone()).await {
            Err(error) if code(&error) == Some(UNAUTHORIZED) => self.ask_as_admin(command).await,
            answer => answer,
        }
    }

    /// The same with the administrator's login, if there is one.
    pub(super) async fn ask_as_admin(&self, command: Document) -> Result<Document, DriverError> {
        bounded_raw(self.read.client().database("admin").run_command(command)).await
    }

    /// What a server lacks that it should have: no failure of the stand-in.
    pub(super) fn lacks(&self, what: &str, mend: &str) -> Seen {
        if self.is_stand_in { Seen::not_provided(what) } else { Seen::failed(what, mend) }
    }
}

/// Where the URL comes from.
const URL: &str = "MONGODB_URL=mongodb://USER@HOST:27017/user_service?authSource=admin&replicaSet=rs0, with :PASSWORD after USER";
/// Where the administrator's comes from.
const ADMIN_URL: &str =
    "--admin-url, or MONGODB_ADMIN_URL, is for the same replica set as MONGODB_URL, with another login";

/// Refuses an administrator's URL that is refused itself or leads to another server than the service's: everything would be
/// looked at, and some of it done, in the wrong place.
async fn same_server(hello: &Document, admin: &Store) -> Result<(), Seen> {
    let commands = admin.client().database("admin");
    let asked = bounded_raw(commands.run_command(doc! { "hello": 1 }));
    let of_admin = asked.await.map_err(|error| Seen::failed(plain(error).to_string(), ADMIN_URL))?;
    let which = |hello: &Document| {
        let of = |list: &str| {
            let hosts = hello.get_array(list).into_iter().flatten().filter_map(Bson::as_str);
            hosts.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        (hello.get_str("setName").unwrap_or_default().to_owned(), of("hosts"))
    };
    let (ours, theirs) = (which(hello), which(&of_admin));
    if ours == theirs {
        return Ok(());
    }
    let hosts = |hosts: &BTreeSet<String>| hosts.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let found = format!("--admin-url leads to {}, MONGODB_URL to {}", hosts(&theirs.1), hosts(&ours.1));
    Err(Seen::failed(found, ADMIN_URL))
}

/// A driver's error as it may be printed: what the server said, without its whole answer and without the driver's words.
pub(super) fn plain(error: DriverError) -> anyhow::Error {
    if let ErrorKind::Command(refused) = &*error.kind {
        let said = without_command(&refused.message);
        return anyhow::anyhow!("{said} ({} {})", refused.code, refused.code_name);
    }
    let failure = classify(error);
    anyhow::Error::msg(failure.source().map_or_else(|| failure.to_string(), chain))
}

/// The greeting, with the question by which mechanisms the user may log in.
fn greeting(said: &ClientOptions) -> Document {
    let mut greeting = doc! { "hello": 1 };
    if let Some(login) = &said.credential
        && let Some(user) = &login.username
    {
        let source = login.source.as_deref().unwrap_or("admin");
        greeting.insert("saslSupportedMechs", format!("{source}.{user}"));
    }
    greeting
}

/// What it means that the server is not reached, and what to look at.
fn unreachable(error: &DriverError) -> Seen {
    let mend = match &*error.kind {
        ErrorKind::Authentication { .. } => format!(
            "the user, the password or authSource, the database that the user is in, is another:\n{URL}"
        ),
        ErrorKind::DnsResolve { .. } => format!("the host has no address here:\n{URL}"),
        ErrorKind::InvalidTlsConfig { .. } => {
            "tlsCAFile and tlsCertificateKeyFile of MONGODB_URL name files in PEM".to_owned()
        }
        _ if code(error) == Some(18) => {
            format!("the login is refused; which database is the user in?\n{URL}")
        }
        _ => {
            format!("is it running, is the network open, does it want tls=true or another replicaSet?\n{URL}")
        }
    };
    Seen::failed(plain(error.clone()).to_string(), mend)
}
