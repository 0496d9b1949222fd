//! Which services there are, and what each needs to be started.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::cargo::cargo;
use crate::env;
use crate::launch::Lifetime;
use crate::ports::Port;
use crate::state;

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceName {
    /// Users, posts and wallets.
    User,
    /// Products, orders and accounts.
    Order,
    /// Sessions.
    Session,
}

impl ServiceName {
    /// All of them, in the order in which they are started.
    pub const ALL: [Self; 3] = [Self::Session, Self::User, Self::Order];

    /// The name of its package, its binary and its service token.
    #[must_use]
    pub const fn binary(self) -> &'static str {
        match self {
            Self::User => "user-service",
            Self::Order => "order-service",
            Self::Session => "session-service",
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.binary())
    }
}

/// The programs of a system: the services, and the operators' command. They are always built together. For another
/// choice of packages Cargo would unify the features of their dependencies differently, and compile those once more.
pub const PROGRAMS: [&str; 4] =
    [ServiceName::User.binary(), ServiceName::Order.binary(), ServiceName::Session.binary(), "tristore"];

/// How the binaries are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Quick to build.
    #[default]
    Debug,
    /// As shipped.
    Release,
    /// Quick to build, with fault points and flaws: `shared/fault`.
    Faults,
}

impl Profile {
    /// The path of a binary of the workspace after `cargo build`.
    #[must_use]
    pub fn binary(self, name: &str) -> PathBuf {
        let folder = match self {
            Self::Debug => "debug",
            Self::Release => "release",
            Self::Faults => "faults/debug",
        };
        target().join(folder).join(name)
    }

    /// Builds packages of the workspace, which is quick when nothing has changed. Cargo's progress goes to standard
    /// error.
    ///
    /// # Errors
    /// When the build fails.
    pub async fn build(self, packages: &[&str]) -> Result<()> {
        let packages = packages.iter().flat_map(|package| ["--package", package]);
        let mut command = cargo();
        command.arg("build").current_dir(state::workspace()).args(packages);
        match self {
            Self::Debug => {}
            Self::Release => {
                command.arg("--release");
            }
            Self::Faults => {
                // Cargo has one place for a binary, whatever its features, and the one without features belongs there.
                // Only the final binaries get a place of their own; their dependencies are built once for all profiles.
                let made_of = env::path("CARGO_BUILD_BUILD_DIR").unwrap_or_else(target);
                command.args(["--features", "faults"]);
                command
                    .env("CARGO_BUILD_BUILD_DIR", made_of)
                    .env("CARGO_TARGET_DIR", target().join("faults"));
            }
        }
        let status = command.status().await.context("running cargo")?;
        ensure!(status.success(), "cargo build failed");
        Ok(())
    }
}

/// Cargo's folder.
fn target() -> PathBuf {
    env::path("CARGO_TARGET_DIR").unwrap_or_else(|| state::workspace().join("target"))
}

/// The addresses of the databases that the services use.
#[derive(Debug, Clone)]
pub struct DatabaseUrls {
    /// User service's, with the name of the database.
    pub mongodb: String,
    /// Order service's, with the name of the database.
    pub postgres: String,
    /// Session service's.
    pub redis_session: String,
    /// Everybody's.
    pub redis_cache: String,
    /// Everybody's. Channels are shared by all numbered databases, so two sets of services need two servers.
    pub redis_events: String,
}

/// How to start the services.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Which binaries.
    pub profile: Profile,
    /// What becomes of them when this process dies.
    pub lifetime: Lifetime,
    /// User service's port.
    pub user: Port,
    /// Order service's port.
    pub order: Port,
    /// Session service's port.
    pub session: Port,
    /// Threads of each service; their default is one a core.
    pub threads: Option<usize>,
    /// More variables for the environment; the last one of a name wins.
    pub env: Vec<(ServiceName, String, String)>,
    /// A proxy on every edge: [`crate::Stack::edge`].
    pub edges: bool,
}

impl Default for ServiceOptions {
    /// For tests: free ports, one thread each, and gone when the test process is.
    fn default() -> Self {
        Self {
            profile: Profile::Debug,
            lifetime: Lifetime::WithParent,
            user: Port::Free,
            order: Port::Free,
            session: Port::Free,
            threads: Some(1),
            env: Vec::new(),
            edges: false,
        }
    }
}
