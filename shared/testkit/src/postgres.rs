//! A private PostgreSQL server with production's settings: it is not made faster by being less safe.

mod backup;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::account::{Account, private_file, run_as};
use crate::command::option;
use crate::launch::{Launch, Lifetime};
use crate::ports::Port;
use crate::programs;
use crate::psql::PostgresAdmin;
use crate::server::{Engine, Server};
use crate::state::State;

pub use backup::Dump;

const NAME: &str = "postgres";
const USER: &str = "tristore";

/// A running PostgreSQL server of our own.
pub type Postgres = Server<PostgresEngine>;

/// PostgreSQL.
#[derive(Debug)]
pub struct PostgresEngine;

impl Engine for PostgresEngine {
    type Admin = PostgresAdmin;
    const NAME: &str = "PostgreSQL";
    const STOP: Signal = Signal::SIGINT;

    /// A new server refuses to start while the remains of a killed one still hold their shared memory. So it is started
    /// again until it succeeds.
    fn runs(server: &Postgres) -> Result<()> {
        server.process.start_again()
    }

    async fn answers(server: &Postgres) -> Result<()> {
        server.admin.run("postgres", "select 1".to_owned()).await.map(drop)
    }
}

impl Postgres {
    /// Starts the server in `state`, making its data folder the first time.
    ///
    /// # Errors
    /// When PostgreSQL is missing or does not start.
    pub async fn start(state: &State, port: Port, lifetime: Lifetime) -> Result<Self> {
        let bin = programs::postgres_bin()?;
        let program = bin.join("postgres");
        let mut launch = Launch::of_server(state, NAME, program, &["postgres", "nobody"], lifetime)?;
        // An "immediate" shutdown: the only one that frees its shared memory without waiting for clients.
        launch.last_signal = Signal::SIGQUIT;
        let password = state.secret(NAME)?;
        let data = launch.folder.join("data");
        if !data.join("PG_VERSION").exists() {
            let (bin, folder, account, password) =
                (bin.clone(), launch.folder.clone(), launch.account.clone(), password.clone());
            tokio::task::spawn_blocking(move || initdb(&bin, &folder, account.as_ref(), &password)).await??;
        }
        let port = port.choose()?;
        let config = launch.write("data/tristore.conf", &settings(port, &bin))?;
        launch.args = vec!["-D".into(), data.into(), "-c".into(), option("config_file", &config)];
        let admin = PostgresAdmin::new(&format!("postgres://{USER}:{password}@127.0.0.1:{port}/postgres"))?;
        Self::launch(PostgresEngine, launch, admin, port).await
    }

    /// The URL of one of its databases, password included.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.admin.url(database)
    }
}

fn initdb(
    bin: &std::path::Path,
    folder: &std::path::Path,
    account: Option<&Account>,
    password: &str,
) -> Result<()> {
    let password_file = folder.join("password");
    private_file(&password_file, password, account)?;
    // A first start that was killed leaves an incomplete data folder, which initdb would refuse.
    let data = folder.join("data");
    if data.exists() {
        fs::remove_dir_all(&data).with_context(|| format!("removing the incomplete {}", data.display()))?;
    }
    let mut command = run_as(account, None, &bin.join("initdb"))?;
    command.arg("--pgdata").arg(&data).arg(format!("--username={USER}"));
    command.arg(option("--pwfile", &password_file));
    command.args([
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--data-checksums",
        "--no-instructions",
    ]);
    let output = command.current_dir(folder).output().context("running initdb")?;
    fs::remove_file(&password_file).context("removing the password file")?;
    if !output.status.success() {
        bail!("initdb: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn settings(port: u16, bin: &std::path::Path) -> String {
    // On Debian it is part of the same package; other builds may lack it.
    let library: PathBuf = bin.join("../lib/pg_stat_statements.so");
    let statements = if library.exists() { "pg_stat_statements" } else { "" };
    format!(
        "listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 300
shared_buffers = '64MB'
max_wal_size = '512MB'
fsync = on
full_page_writes = on
synchronous_commit = on
wal_level = logical
max_replication_slots = 8
client_connection_check_interval = '250ms'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %a '
log_lock_waits = on
shared_preload_libraries = '{statements}'
"
    )
}
