//! Where the programs of the local databases are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command;
use crate::env;
use crate::home;

/// The MongoDB stand-in's crate.
pub const SECANTUS_CRATE: &str = "secantus-mdb";
/// The version of it that is known to work.
pub const SECANTUS_VERSION: &str = "0.5.3-beta.196";
/// The oldest PostgreSQL that is recent enough.
pub const POSTGRES_AT_LEAST: u32 = 15;
/// The oldest Redis that is recent enough.
pub const REDIS_AT_LEAST: u32 = 7;
/// The oldest MongoDB that is recent enough.
pub const MONGODB_AT_LEAST: u32 = 8;

/// The programs that run in a state folder.
const STARTED: [&str; 11] = [
    "postgres",
    "pgbouncer",
    "redis-server",
    "mongod",
    "secantusd-rs",
    "user-service",
    "order-service",
    "session-service",
    "floor",
    "prometheus",
    "jaeger",
];

const HINT: &str = "`cargo xtask tools` installs it";

/// Where tools are kept between runs: `TRISTORE_CACHE`, else a folder of the user's cache. When `HOME` is missing or
/// read-only, it is in the account's home folder.
///
/// # Errors
/// When no home folder can be written to.
pub fn cache_folder() -> Result<PathBuf> {
    env::path("TRISTORE_CACHE").or_else(home::cache).context(
        "neither XDG_CACHE_HOME nor HOME nor the account's home folder can be written to: set TRISTORE_CACHE",
    )
}

/// Where the MongoDB stand-in is installed (`cargo install --root`).
///
/// # Errors
/// When no home folder is known.
pub fn secantus_root() -> Result<PathBuf> {
    Ok(cache_folder()?.join(format!("{SECANTUS_CRATE}-{SECANTUS_VERSION}")))
}

/// A tool that `cargo xtask tools` keeps in the cache, else one on `PATH`.
#[must_use]
pub fn tool(name: &str) -> Option<PathBuf> {
    let kept = cache_folder().ok().and_then(|cache| {
        let places = ["npm/node_modules/.bin", "python/bin", "cargo/bin", "go/bin"];
        places.into_iter().map(|place| cache.join(place).join(name)).find(|path| path.exists())
    });
    kept.or_else(|| on_path(name))
}

/// A program on `PATH`.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    env::search_path().into_iter().map(|folder| folder.join(name)).find(|path| is_program(path))
}

/// The folder with the newest PostgreSQL server: Debian's layout first, then `PATH`.
///
/// # Errors
/// When there is none that is recent enough.
pub fn postgres_bin() -> Result<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let newest = debian
        .filter(|(version, bin)| {
            *version >= POSTGRES_AT_LEAST
                && is_program(&bin.join("postgres"))
                && is_program(&bin.join("initdb"))
        })
        .max_by_key(|(version, _)| *version);
    newest
        .map(|(_, bin)| bin)
        .or_else(|| {
            on_path("initdb")
                .and_then(|program| fs::canonicalize(program).ok()?.parent().map(Path::to_path_buf))
        })
        .with_context(|| format!("no PostgreSQL {POSTGRES_AT_LEAST} or newer on this machine; {HINT}"))
}

/// PostgreSQL's command line client.
///
/// # Errors
/// When there is none.
pub fn psql() -> Result<PathBuf> {
    // Debian's `psql` on the path is a script that chooses a server of the machine.
    let beside = postgres_bin().ok().map(|bin| bin.join("psql")).filter(|path| is_program(path));
    beside.or_else(|| on_path("psql")).with_context(|| format!("no psql on this machine; {HINT}"))
}

/// PgBouncer. Debian keeps it where only root looks for programs.
///
/// # Errors
/// When there is none.
pub fn pgbouncer() -> Result<PathBuf> {
    on_path("pgbouncer")
        .or_else(|| Some(PathBuf::from("/usr/sbin/pgbouncer")).filter(|path| is_program(path)))
        .with_context(|| format!("no pgbouncer on this machine; {HINT}"))
}

/// Jaeger's program that is everything in one, of its first generation: `JAEGER`, else `jaeger-all-in-one` on `PATH`.
///
/// # Errors
/// When there is none.
pub fn jaeger() -> Result<PathBuf> {
    env::path("JAEGER")
        .or_else(|| on_path("jaeger-all-in-one"))
        .context("no Jaeger on this machine; set JAEGER to a jaeger-all-in-one of version 1")
}

/// The Redis server.
///
/// # Errors
/// When there is none.
pub fn redis_server() -> Result<PathBuf> {
    on_path("redis-server").with_context(|| format!("no redis-server on this machine; {HINT}"))
}

/// Whether a program of this name is one that is started in state folders. The name may have a version behind it.
pub(crate) fn is_started(name: &str) -> bool {
    let is_known =
        |known: &&str| name.strip_prefix(*known).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let mongod = env::path("MONGOD");
    STARTED.iter().any(is_known)
        || mongod.and_then(|path| path.file_name().map(|file| file == name)).unwrap_or_default()
}

/// Which program plays MongoDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MongoProgram {
    /// MongoDB's own server.
    Mongod(PathBuf),
    /// The single-node server that speaks its protocol.
    Secantus(PathBuf),
}

/// The MongoDB server: `MONGOD`, whatever its version, else `mongod` on `PATH` if it is recent enough, else the stand-in
/// from the cache.
///
/// # Errors
/// When there is none.
pub fn mongo_server() -> Result<MongoProgram> {
    let on_path = || on_path("mongod").filter(|path| mongod_version(path).is_ok());
    if let Some(path) = env::path("MONGOD").or_else(on_path) {
        return Ok(MongoProgram::Mongod(path));
    }
    let stand_in = secantus_root()?.join("bin/secantusd-rs");
    is_program(&stand_in).then_some(MongoProgram::Secantus(stand_in)).with_context(|| {
        format!("no MongoDB on this machine, nor its stand-in; {HINT} (minutes, once per user)")
    })
}

/// The version of a mongod, such as `8.0.4`.
///
/// # Errors
/// When the program cannot tell, or is too old.
pub fn mongod_version(program: &Path) -> Result<String> {
    let shown = program.display();
    let output =
        command::tool(program).arg("--version").output().with_context(|| format!("running {shown}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = version_of_mongod(&said).with_context(|| format!("{shown} --version says: {said:?}"))?;
    let major: u32 = version.split('.').next().unwrap_or_default().parse()?;
    ensure!(
        major >= MONGODB_AT_LEAST,
        "{shown} is MongoDB {version}, which is too old: {MONGODB_AT_LEAST}.0 or newer is needed"
    );
    Ok(version.to_owned())
}

/// From `db version v8.0.4`, the first line.
fn version_of_mongod(said: &str) -> Option<&str> {
    let version = said.lines().next()?.strip_prefix("db version v")?.trim();
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
