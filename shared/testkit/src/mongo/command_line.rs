//! How each kind of server is called.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::replica_set;
use crate::account::{Account, private_file};
use crate::programs::{self, MongoProgram, SECANTUS_VERSION};
use crate::state::State;

/// A transaction ends after this time, so that a client that died in the middle of one does not lock documents for
/// long.
pub(super) const TRANSACTION_SECONDS: u32 = 3;
/// MongoDB 8 takes memory for each core by a mechanism of the kernel that glibc would claim before it.
const LEAVE_RSEQ: (&str, &str) = ("GLIBC_TUNABLES", "glibc.pthread.rseq=0");

/// A program with its arguments and its environment.
pub(super) struct CommandLine {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(String, String)>,
}

/// How a server is to run.
pub(super) struct Wanted<'a> {
    /// The folder for its data.
    pub(super) data: &'a Path,
    pub(super) port: u16,
    pub(super) account: Option<&'a Account>,
    /// With fail points.
    pub(super) test_commands: bool,
}

impl CommandLine {
    pub(super) fn of(program: &MongoProgram, state: &State, wanted: &Wanted<'_>) -> Result<Self> {
        let account = wanted.account;
        let folder = wanted.data.parent().context("data is in a folder")?;
        match program {
            MongoProgram::Mongod(path) => {
                let version = programs::mongod_version(path)?;
                let key = folder.join("key");
                private_file(&key, &state.secret("mongodb-key")?, account)?;
                fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).context("closing the key")?;
                Ok(Self {
                    program: reachable(path, state, account, &format!("mongod-{version}"))?,
                    args: of_mongod(wanted, &key),
                    env: vec![(LEAVE_RSEQ.0.to_owned(), LEAVE_RSEQ.1.to_owned())],
                })
            }
            MongoProgram::Secantus(path) => {
                // With a file of its own it does not read one from the usual places.
                let config = folder.join("secantusd.toml");
                private_file(&config, "", account)?;
                Ok(Self {
                    program: reachable(path, state, account, &format!("secantusd-rs-{SECANTUS_VERSION}"))?,
                    args: of_secantus(wanted, &config),
                    env: Vec::new(),
                })
            }
        }
    }
}

fn of_mongod(wanted: &Wanted<'_>, key: &Path) -> Vec<OsString> {
    let Wanted { data, port, test_commands, .. } = *wanted;
    // A member of a replica set asks for users only when it has a key that it shares with the other members.
    let mut args: Vec<OsString> = vec!["--dbpath".into(), data.into(), "--keyFile".into(), key.into()];
    let rest = format!(
        "--port {port} --bind_ip 127.0.0.1 --nounixsocket --replSet {} --oplogSize 256 --wiredTigerCacheSizeGB 0.25",
        replica_set::NAME
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

fn of_secantus(wanted: &Wanted<'_>, config: &Path) -> Vec<OsString> {
    let Wanted { data, port, test_commands, .. } = *wanted;
    let mut args: Vec<OsString> =
        vec!["--config".into(), config.into(), "--storage-path".into(), data.into()];
    // Without --sync-on-commit a SIGKILL loses acknowledged writes.
    let rest = format!(
        "--auth --host 127.0.0.1 --port {port} --sync-on-commit --cache-size 256M --log-level WARNING"
    );
    args.extend(rest.split(' ').map(OsString::from));
    if test_commands {
        args.push("--enable-test-commands".into());
    }
    args
}

/// The program itself, or where the server's account cannot run it, a copy of this name beside the state folders: a
/// program may be in root's home folder, which other accounts cannot enter.
fn reachable(program: &Path, state: &State, account: Option<&Account>, name: &str) -> Result<PathBuf> {
    let program = &fs::canonicalize(program).with_context(|| format!("looking for {}", program.display()))?;
    if account.is_none_or(|account| account.can_run(program)) {
        return Ok(program.clone());
    }
    let folder = state.root().parent().unwrap_or(state.root()).join("bin");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).context("opening it to the databases")?;
    let copy = folder.join(name);
    let shape = |path: &Path| fs::metadata(path).and_then(|data| Ok((data.len(), data.modified()?))).ok();
    if shape(&copy) != shape(program) {
        let draft = folder.join(format!("{}.new", uuid::Uuid::new_v4().simple()));
        fs::copy(program, &draft).with_context(|| format!("copying {}", program.display()))?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).context("making it a program")?;
        let modified = fs::metadata(program)?.modified()?;
        fs::File::options().write(true).open(&draft)?.set_modified(modified).context("dating the copy")?;
        fs::rename(&draft, &copy).context("naming the copy")?;
    }
    Ok(copy)
}
