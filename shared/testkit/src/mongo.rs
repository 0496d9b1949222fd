//! A private MongoDB server: the real one if it is installed, else a stand-in that speaks its protocol.

mod backup;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bson::doc;
use nix::sys::signal::Signal;
use nix::unistd::Uid;

use crate::account::{Account, private_file, private_folder};
use crate::launch::{Launch, Lifetime};
use crate::mongo_admin::MongoAdmin;
use crate::ports::Port;
use crate::programs::{self, MongoProgram, SECANTUS_VERSION};
use crate::server::{Engine, Server};
use crate::state::State;

pub use backup::Documents;

const NAME: &str = "mongodb";
const REPLICA_SET: &str = "tristore";
/// A transaction ends after this time, so that a client that died in the middle of one does not lock documents for
/// long.
const TRANSACTION_SECONDS: u32 = 3;

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
pub type Mongo = Server<MongoKind>;

impl Engine for MongoKind {
    type Admin = MongoAdmin;
    const NAME: &str = "MongoDB";
    const STOP: Signal = Signal::SIGTERM;

    async fn answers(server: &Mongo) -> Result<()> {
        ensure!(server.process.is_alive(), "it ended: {:?}", server.process.exit_status());
        let hello = server.admin.run("admin", doc! { "hello": 1 }).await?;
        if !hello.get_bool("isWritablePrimary").unwrap_or_default() {
            let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", server.port) };
            let set = doc! { "_id": REPLICA_SET, "members": [member] };
            // The server refuses this when it was done before. Then only the election is still to come.
            let _ = server.admin.run("admin", doc! { "replSetInitiate": set }).await;
            bail!("it is not a primary yet");
        }
        if server.engine == Self::Secantus {
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
        let account = Account::for_server(&["mongodb", "redis", "postgres", "nobody"])?;
        let folder = state.path(NAME);
        private_folder(&folder, account.as_ref())?;
        let data = folder.join("data");
        private_folder(&data, account.as_ref())?;
        let port = port.choose()?;
        let (kind, program, args) = match programs::mongo_server()? {
            MongoProgram::Mongod(path) => (MongoKind::Mongod, path, mongod_args(&data, port, test_commands)),
            MongoProgram::Secantus(path) => {
                let program = if Uid::effective().is_root() { reachable(&path, state)? } else { path };
                // With a file of its own it does not read one from the usual places.
                let config = folder.join("secantusd.toml");
                private_file(&config, "", account.as_ref())?;
                (MongoKind::Secantus, program, secantus_args(&data, &config, port, test_commands))
            }
        };
        let launch = Launch {
            name: NAME.to_owned(),
            program,
            args,
            env: Vec::new(),
            folder,
            account,
            lifetime,
            last_signal: Signal::SIGKILL,
            log: state.log(NAME),
            pid_file: state.pid_file(NAME),
        };
        let admin = MongoAdmin::new(&format!("mongodb://127.0.0.1:{port}/?directConnection=true"))?;
        Self::launch(kind, launch, admin, port).await
    }

    /// Which program it is.
    #[must_use]
    pub fn kind(&self) -> MongoKind {
        self.engine
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.admin.url(database)
    }
}

fn mongod_args(data: &Path, port: u16, test_commands: bool) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["--dbpath".into(), data.into()];
    let rest = format!(
        "--port {port} --bind_ip 127.0.0.1 --nounixsocket --replSet {REPLICA_SET} --oplogSize 256 --wiredTigerCacheSizeGB 0.25"
    );
    args.extend(rest.split(' ').map(OsString::from));
    args.extend([
        "--setParameter".into(),
        format!("transactionLifetimeLimitSeconds={TRANSACTION_SECONDS}").into(),
    ]);
    if test_commands {
        args.extend(["--setParameter".into(), "enableTestCommands=1".into()]);
    }
    args
}

fn secantus_args(data: &Path, config: &Path, port: u16, test_commands: bool) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        vec!["--config".into(), config.into(), "--storage-path".into(), data.into()];
    // Without --sync-on-commit a SIGKILL loses acknowledged writes.
    let rest =
        format!("--host 127.0.0.1 --port {port} --sync-on-commit --cache-size 256M --log-level WARNING");
    args.extend(rest.split(' ').map(OsString::from));
    if test_commands {
        args.push("--enable-test-commands".into());
    }
    args
}

/// A copy of the program that the server's account can reach, made once, beside the state folders. The cache may be in
/// root's home folder, which other accounts cannot enter.
fn reachable(program: &Path, state: &State) -> Result<PathBuf> {
    let folder = state.root().parent().unwrap_or(state.root()).join("bin");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).context("opening it to the databases")?;
    let copy = folder.join(format!("secantusd-rs-{SECANTUS_VERSION}"));
    let size = |path: &Path| fs::metadata(path).map(|data| data.len()).ok();
    if size(&copy) != size(program) {
        let draft = folder.join(format!("{}.new", uuid::Uuid::new_v4().simple()));
        fs::copy(program, &draft).with_context(|| format!("copying {}", program.display()))?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).context("making it a program")?;
        fs::rename(&draft, &copy).context("naming the copy")?;
    }
    Ok(copy)
}
