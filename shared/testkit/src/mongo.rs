//! A private MongoDB server: the real one if it is installed, else a stand-in that speaks its protocol. Whoever uses it
//! must log in.

mod backup;
mod command_line;
mod replica_set;

use std::fmt;

use anyhow::{Context, Result};
use bson::doc;
use nix::sys::signal::Signal;

use crate::account::private_folder;
use crate::launch::{Launch, Lifetime};
use crate::mongo_admin::{MongoAdmin, is_refused_login};
use crate::mongo_roles::MongoRole;
use crate::mongo_users::MongoUrls;
use crate::ports::Port;
use crate::programs::{self, MongoProgram, SECANTUS_VERSION};
use crate::server::{Engine, Server};
use crate::state::State;
use command_line::{CommandLine, TRANSACTION_SECONDS, Wanted};

pub use backup::Documents;

const NAME: &str = "mongodb";
/// The user who may do everything.
const USER: &str = "tristore";

/// Which program answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MongoKind {
    /// MongoDB's own server.
    Mongod,
    /// The stand-in: one node, no text indexes.
    Secantus,
}

impl fmt::Display for MongoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mongod => f.write_str("mongod"),
            Self::Secantus => write!(f, "secantusd-rs {SECANTUS_VERSION} (a stand-in for MongoDB)"),
        }
    }
}

/// A running MongoDB server of our own, a replica set of one.
pub type Mongo = Server<MongoEngine>;

/// MongoDB.
#[derive(Debug)]
pub struct MongoEngine {
    kind: MongoKind,
    password: String,
}

impl Engine for MongoEngine {
    type Admin = MongoAdmin;
    const NAME: &str = "MongoDB";
    const STOP: Signal = Signal::SIGTERM;

    /// Neither kind of server can use the files of the other.
    fn data(&self) -> &'static str {
        match self.kind {
            MongoKind::Mongod => "data-mongod",
            MongoKind::Secantus => "data",
        }
    }

    async fn answers(server: &Mongo) -> Result<()> {
        let anyone = MongoAdmin::new(&address(server.port))?;
        let hello = anyone.run("admin", doc! { "hello": 1 }).await?;
        if !hello.get_bool("isWritablePrimary").unwrap_or_default() {
            return replica_set::begin(&anyone, &server.admin, server.port).await;
        }
        match server.admin.run("admin", doc! { "ping": 1 }).await {
            // As long as a server has no user, it lets somebody on the same machine make the first one.
            Err(error) if is_refused_login(&error) => {
                let roles = ["root"];
                let first = doc! { "createUser": USER, "pwd": &server.engine.password, "roles": roles };
                anyone.run("admin", first).await.context("making the first user")?;
            }
            answer => drop(answer?),
        }
        if server.engine.kind == MongoKind::Secantus {
            // The stand-in has no command-line option for this, and forgets it when it stops.
            let limit = doc! { "setParameter": 1, "transactionLifetimeLimitSeconds": TRANSACTION_SECONDS };
            server.admin.run("admin", limit).await.context("limiting the life of transactions")?;
        }
        Ok(())
    }
}

impl Mongo {
    /// Starts the server in `state`. With `test_commands` it has fail points.
    ///
    /// # Errors
    /// When no server is found or it does not start.
    pub async fn start(state: &State, port: Port, lifetime: Lifetime, test_commands: bool) -> Result<Self> {
        Self::start_program(&programs::mongo_server()?, state, port, lifetime, test_commands).await
    }

    /// As [`Mongo::start`], with this program.
    ///
    /// # Errors
    /// When it is a mongod that is too old, or it does not start.
    pub async fn start_program(
        program: &MongoProgram,
        state: &State,
        port: Port,
        lifetime: Lifetime,
        test_commands: bool,
    ) -> Result<Self> {
        let (kind, path) = match program {
            MongoProgram::Mongod(path) => (MongoKind::Mongod, path),
            MongoProgram::Secantus(path) => (MongoKind::Secantus, path),
        };
        let password = state.secret(NAME)?;
        let engine = MongoEngine { kind, password };
        let accounts = ["mongodb", "redis", "postgres", "nobody"];
        let launch = Launch::of_server(state, NAME, path.clone(), &accounts, lifetime)?;
        let data = launch.folder.join(engine.data());
        private_folder(&data, launch.account.as_ref())?;
        let port = port.choose()?;
        let wanted = Wanted { data: &data, port, account: launch.account.as_ref(), test_commands };
        let CommandLine { program, args, env } = CommandLine::of(program, state, &wanted)?;
        let launch = Launch { program, args, env, ..launch };
        let user = format!("{USER}:{}@", engine.password);
        let admin = MongoAdmin::new(&address(port).replacen("://", &format!("://{user}"), 1))?;
        Self::launch(engine, launch, admin, port).await
    }

    /// Which program it is.
    #[must_use]
    pub fn kind(&self) -> MongoKind {
        self.engine.kind
    }

    /// The addresses of one of its databases, whose users are made if necessary. Their passwords are secrets of `state`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn urls(&self, state: &State, database: &str) -> Result<MongoUrls> {
        let password = |role: MongoRole| state.secret(&format!("{NAME}-{}", role.name(database)));
        MongoUrls::ensure(&self.admin, database, password).await
    }
}

fn address(port: u16) -> String {
    format!("mongodb://127.0.0.1:{port}/?directConnection=true")
}
