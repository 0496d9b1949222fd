//! PgBouncer before a PostgreSQL server, in transaction mode: after each transaction a client's session of the server's
//! goes to whoever comes next.

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use crate::launch::{Launch, Lifetime};
use crate::ports::Port;
use crate::programs;
use crate::psql::PostgresAdmin;
use crate::server::{Engine, Server};
use crate::state::State;

/// What a pooler does with settings that a client asks for and that it does not follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    /// Refuses the connection, as PgBouncer does unless told otherwise.
    Refused,
    /// Takes no notice of them.
    Ignored,
}

impl Settings {
    const fn name(self) -> &'static str {
        match self {
            Self::Refused => "pgbouncer",
            Self::Ignored => "pgbouncer-ignoring",
        }
    }
}

/// A running PgBouncer of our own.
pub type PgBouncer = Server<PgBouncerEngine>;

/// PgBouncer.
#[derive(Debug)]
pub struct PgBouncerEngine;

impl Engine for PgBouncerEngine {
    /// The databases behind it, through it.
    type Admin = PostgresAdmin;
    const NAME: &str = "PgBouncer";
    const STOP: Signal = Signal::SIGTERM;

    async fn answers(server: &PgBouncer) -> Result<()> {
        TcpStream::connect(("127.0.0.1", server.port)).await?;
        Ok(())
    }
}

impl PgBouncer {
    /// Starts it in `state`, before the server that `admin` is for.
    ///
    /// # Errors
    /// When PgBouncer is missing or does not start.
    pub async fn start(
        state: &State,
        admin: &PostgresAdmin,
        settings: Settings,
        port: Port,
        lifetime: Lifetime,
    ) -> Result<Self> {
        let name = settings.name();
        let program = programs::pgbouncer()?;
        let port = port.choose()?;
        let mut launch = Launch::of_server(state, name, program, &["postgres", "nobody"], lifetime)?;
        launch.write("users.txt", &admin.as_users_file())?;
        let config = launch.write("pgbouncer.ini", &configuration(admin, settings, port))?;
        launch.args = vec![config.into()];
        Self::launch(PgBouncerEngine, launch, admin.at(&format!("127.0.0.1:{port}")), port).await
    }

    /// The URL of one of the databases behind it, password included.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.admin.url(database)
    }
}

/// Few sessions, taken in turn: two transactions in a row are hardly ever in the same one.
fn configuration(admin: &PostgresAdmin, settings: Settings, port: u16) -> String {
    let (host, server_port) = admin.place();
    let ignored = match settings {
        Settings::Refused => "",
        Settings::Ignored => "options,extra_float_digits",
    };
    format!(
        "[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = users.txt
pool_mode = transaction
default_pool_size = 4
server_round_robin = 1
server_idle_timeout = 5
max_client_conn = 1000
ignore_startup_parameters = {ignored}
"
    )
}
