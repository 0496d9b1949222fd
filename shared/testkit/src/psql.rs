//! Making and dropping databases on a PostgreSQL server, through `psql`.
//!
//! A driver is not needed: `psql` takes the password from the environment and runs any script.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use crate::command::tool;
use crate::programs;

/// Access to a PostgreSQL server that allows us to make databases.
#[derive(Debug, Clone)]
pub struct PostgresAdmin {
    user: String,
    password: String,
    address: String,
}

impl PostgresAdmin {
    /// From `postgres://user:password@host:port/...`, with nothing percent-encoded in it.
    ///
    /// # Errors
    /// When the URL has another form.
    pub fn new(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let parts = rest.and_then(|rest| rest.rsplit_once('@')).and_then(|(person, place)| {
            let (user, password) = person.split_once(':').unwrap_or((person, ""));
            Some((user, password, place.split('/').next()?))
        });
        let Some((user, password, address)) = parts else {
            bail!("a PostgreSQL URL looks like postgres://user:password@host:port");
        };
        Ok(Self { user: user.to_owned(), password: password.to_owned(), address: address.to_owned() })
    }

    /// The password, for programs that take it from the environment.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// The same at another address, `host:port`.
    pub(crate) fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.clone() }
    }

    /// Host and port.
    pub(crate) fn place(&self) -> (&str, &str) {
        self.address.rsplit_once(':').unwrap_or((&self.address, "5432"))
    }

    /// The login, as a line of PgBouncer's `auth_file`.
    pub(crate) fn as_users_file(&self) -> String {
        format!("{} {}\n", quoted(&self.user), quoted(&self.password))
    }

    /// The URL of one of its databases, password included.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let Self { user, password, address } = self;
        format!("postgres://{user}:{password}@{address}/{database}")
    }

    /// Makes an empty database.
    ///
    /// # Errors
    /// When the server refuses, also when it exists.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        self.run("postgres", format!("create database {}", quoted(name))).await.map(drop)
    }

    /// Makes a copy of `template`, to which nobody may be connected.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_database_from_template(&self, name: &str, template: &str) -> Result<()> {
        let statement = format!("create database {} template {}", quoted(name), quoted(template));
        self.run("postgres", statement).await.map(drop)
    }

    /// Whether there is a database of this name.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn has_database(&self, name: &str) -> Result<bool> {
        let name = name.replace('\'', "''");
        let answer =
            self.run("postgres", format!("select 1 from pg_database where datname = '{name}'")).await?;
        Ok(answer.trim() == "1")
    }

    /// Makes the database `name` by `prepare` if it is missing. When several processes do so at the same time, one
    /// wins.
    ///
    /// # Errors
    /// When it cannot be made or `prepare` fails.
    pub async fn ensure_template<F>(&self, name: &str, prepare: F) -> Result<()>
    where
        F: AsyncFnOnce(String) -> Result<()>,
    {
        if self.has_database(name).await? {
            return Ok(());
        }
        // Prepared under another name, so that nobody can copy an unfinished template.
        let draft = format!("t_{}", Uuid::new_v4().simple());
        self.create_database(&draft).await?;
        prepare(self.url(&draft)).await.with_context(|| format!("preparing template {name}"))?;
        let rename = format!("alter database {} rename to {}", quoted(&draft), quoted(name));
        if let Err(error) = self.run("postgres", rename).await {
            self.drop_database(&draft).await?;
            if !self.has_database(name).await? {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Drops a database, disconnecting whoever uses it. It may be missing.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        let (admin, name) = (self.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || admin.drop_database_now(&name)).await?
    }

    /// [`PostgresAdmin::drop_database`] for code that is not async, such as `Drop`.
    pub(crate) fn drop_database_now(&self, name: &str) -> Result<()> {
        self.run_now("postgres", &format!("drop database if exists {} with (force)", quoted(name))).map(drop)
    }

    /// Drops every database whose name starts with `prefix`, and returns how many there were.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn sweep(&self, prefix: &str) -> Result<usize> {
        let list = format!("select datname from pg_database where starts_with(datname, '{prefix}')");
        let names = self.run("postgres", list).await?;
        for name in names.lines() {
            self.drop_database(name).await?;
        }
        Ok(names.lines().count())
    }

    /// Runs one or several statements and returns the rows, with `|` between columns.
    ///
    /// # Errors
    /// What the server says.
    pub async fn run(&self, database: &str, statement: String) -> Result<String> {
        let (admin, database) = (self.clone(), database.to_owned());
        tokio::task::spawn_blocking(move || admin.run_now(&database, &statement)).await?
    }

    /// Makes sure that there is a role `name` that may log in with this password, read every table, and do nothing
    /// else.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn ensure_reader(&self, name: &str, password: &str) -> Result<()> {
        let (role, literal) = (quoted(name), format!("'{}'", password.replace('\'', "''")));
        let exists = self.run("postgres", format!("select 1 from pg_roles where rolname = '{name}'")).await?;
        let verb = if exists.trim() == "1" { "alter" } else { "create" };
        let script = format!(
            "{verb} role {role} login password {literal};\ngrant pg_read_all_data to {role};\n\
             alter role {role} set default_transaction_read_only = on;\n"
        );
        let admin = self.clone();
        tokio::task::spawn_blocking(move || admin.run_script_now("postgres", &script)).await?
    }

    fn run_now(&self, database: &str, statement: &str) -> Result<String> {
        let output = self.psql(database)?.args(["-c", statement]).output().context("running psql")?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs statements with secrets in them, through standard input: everybody on the machine can read arguments.
    fn run_script_now(&self, database: &str, script: &str) -> Result<()> {
        let mut command = self.psql(database)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("running psql")?;
        child
            .stdin
            .take()
            .context("psql's input")?
            .write_all(script.as_bytes())
            .context("writing to psql")?;
        let output = child.wait_with_output().context("waiting for psql")?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    fn psql(&self, database: &str) -> Result<Command> {
        // The password is passed in the environment for the same reason.
        let url = format!("postgres://{}@{}/{database}?connect_timeout=5", self.user, self.address);
        let mut command = tool(programs::psql()?);
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &url])
            .env("PGPASSWORD", &self.password)
            .env("PGAPPNAME", "testkit")
            .env("PGOPTIONS", "-c client_min_messages=warning");
        Ok(command)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_put_together() {
        let admin =
            PostgresAdmin::new("postgres://app:s3cret@127.0.0.1:55432/postgres?sslmode=disable").unwrap();
        assert_eq!(admin.url("t_1"), "postgres://app:s3cret@127.0.0.1:55432/t_1");
        assert!(PostgresAdmin::new("127.0.0.1:55432").is_err());
        assert_eq!(admin.place(), ("127.0.0.1", "55432"));
        assert_eq!(admin.at("other:1").url("t_1"), "postgres://app:s3cret@other:1/t_1");
        assert_eq!(admin.as_users_file(), "\"app\" \"s3cret\"\n");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
