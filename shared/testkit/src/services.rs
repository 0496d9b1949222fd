//! Which services there are, and what each needs to be started.

use std::fmt;
use std::path::{Path, PathBuf};

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
    pub fn binary(self) -> &'static str {
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
    /// Where a binary of the workspace is after `cargo build`.
    #[must_use]
    pub fn binary(self, name: &str) -> PathBuf {
        let target = env::path("CARGO_TARGET_DIR").unwrap_or_else(|| state::workspace().join("target"));
        let folder = match self {
            Self::Debug => "debug",
            Self::Release => "release",
            Self::Faults => "debug/faults",
        };
        target.join(folder).join(name)
    }

    /// Builds packages of the workspace; quick when nothing has changed. Cargo's progress goes to standard error.
    ///
    /// # Errors
    /// When the build fails.
    pub async fn build(self, packages: &[&str]) -> Result<()> {
        let packages: Vec<&str> = packages.iter().flat_map(|package| ["--package", package]).collect();
        match self {
            Self::Debug => cargo_build(&packages, &[]).await,
            Self::Release => cargo_build(&packages, &["--release"]).await,
            Self::Faults => {
                cargo_build(&packages, &["--features", "faults"]).await?;
                for name in packages.iter().filter(|word| !word.starts_with("--")) {
                    copy(&Self::Debug.binary(name), &self.binary(name))?;
                }
                // Cargo has one place for a binary, whatever its features: there the plain one belongs.
                cargo_build(&packages, &[]).await
            }
        }
    }
}

async fn cargo_build(packages: &[&str], more: &[&str]) -> Result<()> {
    let mut command = cargo();
    command.arg("build").current_dir(state::workspace()).args(packages).args(more);
    let status = command.status().await.context("running cargo")?;
    ensure!(status.success(), "cargo build failed");
    Ok(())
}

/// Under another name first: a process may run from the file that is there.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a binary is in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let new = to.with_extension(format!("new-{}", std::process::id()));
    std::fs::copy(from, &new).with_context(|| format!("copying {}", from.display()))?;
    std::fs::rename(&new, to).with_context(|| format!("naming {}", to.display()))
}

/// Where the databases are that the services use.
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
    /// More environment, last one wins.
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
