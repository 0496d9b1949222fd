//! Backups of a PostgreSQL server, physical and logical, and a standby that follows it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Postgres, PostgresEngine, USER, settings};
use crate::account::{private_file, run_as};
use crate::command::option;
use crate::folder::Backup;
use crate::ports::Port;
use crate::programs;
use crate::psql::PostgresAdmin;
use crate::state::State;
use crate::wait::wait_until;

const CATCH_UP_WITHIN: Duration = Duration::from_secs(60);
const STANDBY: &str = "postgres-standby";

/// A logical backup of one database.
#[derive(Debug)]
pub struct Dump {
    file: PathBuf,
    database: String,
}

impl Postgres {
    /// Takes a physical backup of the running server.
    ///
    /// # Errors
    /// When `pg_basebackup` fails.
    pub async fn backup(&self) -> Result<Backup> {
        let backup = Backup::beside(&self.data());
        self.base_backup(backup.folder(), &[]).await?;
        Ok(backup)
    }

    /// Restores the server from a physical backup: everything written since is lost.
    ///
    /// # Errors
    /// When it does not end or does not start.
    pub async fn restore(&self, backup: &Backup) -> Result<()> {
        self.stop().await?;
        backup.put_back(&self.data()).await?;
        self.restart().await
    }

    /// Takes a logical backup of one database.
    ///
    /// # Errors
    /// When `pg_dump` fails.
    pub async fn dump(&self, database: &str) -> Result<Dump> {
        let file = self.data().with_file_name(format!("dump-{}", uuid::Uuid::new_v4().simple()));
        let args =
            ["--format=custom".into(), option("--file", &file), option("--dbname", &self.name(database))];
        self.run("pg_dump", args.to_vec()).await?;
        Ok(Dump { file, database: database.to_owned() })
    }

    /// Restores one database of the same server from a logical backup, disconnecting whoever uses it.
    ///
    /// # Errors
    /// When `pg_restore` fails.
    pub async fn load(&self, dump: &Dump) -> Result<()> {
        self.admin.drop_database(&dump.database).await?;
        self.admin.create_database(&dump.database).await?;
        let args =
            ["--exit-on-error".into(), option("--dbname", &self.name(&dump.database)), (&dump.file).into()];
        self.run("pg_restore", args.to_vec()).await
    }

    /// Starts a standby that streams from this server.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn standby(&self, state: &State) -> Result<Self> {
        let data = self.data().with_file_name("standby");
        self.base_backup(&data, &["--write-recovery-conf"]).await?;
        let (bin, port) = (programs::postgres_bin()?, Port::Free.choose()?);
        let mut launch = self.process.launch();
        private_file(&data.join("tristore.conf"), &settings(port, &bin), launch.account.as_ref())?;
        launch.name = STANDBY.to_owned();
        launch.args = vec![
            "-D".into(),
            (&data).into(),
            "-c".into(),
            option("config_file", &data.join("tristore.conf")),
        ];
        (launch.log, launch.pid_file) = (state.log(STANDBY), state.pid_file(STANDBY));
        let admin = PostgresAdmin::new(&self.admin.url("postgres").replace(&self.address(), &address(port)))?;
        Self::launch(PostgresEngine, launch, admin, port).await
    }

    /// Waits until this standby has everything that `primary` has.
    ///
    /// # Errors
    /// When it does not catch up in time.
    pub async fn caught_up(&self, primary: &Self) -> Result<()> {
        let written = primary.admin.run("postgres", "SELECT pg_current_wal_flush_lsn()".to_owned()).await?;
        let query = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", written.trim());
        wait_until(CATCH_UP_WITHIN, "the standby to catch up", async || {
            let replayed = self.admin.run("postgres", query.clone()).await?;
            ensure!(replayed.trim() == "t", "behind {}", written.trim());
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Makes this standby a primary, with a timeline of its own.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn promote(&self) -> Result<()> {
        let promoted = self.admin.run("postgres", "SELECT pg_promote(true, 60)".to_owned()).await?;
        ensure!(promoted.trim() == "t", "the standby was not promoted");
        Ok(())
    }

    fn address(&self) -> String {
        address(self.port)
    }

    /// The URL of a database, without the password, which is passed in the environment.
    fn name(&self, database: &str) -> PathBuf {
        format!("postgres://{USER}@{}/{database}", self.address()).into()
    }

    async fn base_backup(&self, to: &Path, more: &[&str]) -> Result<()> {
        let mut args = vec![option("--pgdata", to), option("--dbname", &self.name("postgres"))];
        args.extend(["--checkpoint=fast", "--wal-method=stream", "--no-password"].map(OsString::from));
        args.extend(more.iter().map(OsString::from));
        self.run("pg_basebackup", args).await
    }

    /// Runs one of PostgreSQL's programs under the server's account, so that the server can read what it writes.
    async fn run(&self, program: &str, args: Vec<OsString>) -> Result<()> {
        let (launch, path) = (self.process.launch(), programs::postgres_bin()?.join(program));
        let password = self.admin.password().to_owned();
        let mut command = run_as(launch.account.as_ref(), None, &path)?;
        command.args(args).current_dir(&launch.folder).env("PGPASSWORD", password);
        let output = tokio::task::spawn_blocking(move || command.output()).await?;
        let output = output.with_context(|| format!("running {program}"))?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program}: {}", error.trim());
        Ok(())
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
