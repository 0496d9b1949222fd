//! The folder that a set of servers lives in.
//!
//! `cargo xtask up` always uses the same one. Each test run has one of its own, so runs never collide. A lock shows
//! whether the owner is alive: the system releases it when the owner dies, however it dies.
//!
//! The folder is not in the workspace, because the databases' accounts cannot enter a workspace in a home folder.

use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Uid;
use uuid::Uuid;

use crate::account::private_file;
use crate::pid_file::{self, Identity};
use crate::quote;
use crate::strays;

const LOCK: &str = "lock";
const OWNER: &str = "owner.json";
const RUN_PREFIX: &str = "run-";

/// A locked state folder.
#[derive(Debug)]
pub struct State {
    root: PathBuf,
    /// Held as long as this value lives.
    lock: File,
}

/// The workspace that this was built in.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Where state folders go: `TRISTORE_STATE`, else a folder that belongs to this user and this workspace.
#[must_use]
pub fn base() -> PathBuf {
    crate::env::path("TRISTORE_STATE").unwrap_or_else(|| {
        let mut hasher = DefaultHasher::new();
        workspace().hash(&mut hasher);
        let workspace = hasher.finish() & 0xffff_ffff;
        PathBuf::from(format!("/var/tmp/tristore-{}-{workspace:08x}", Uid::effective()))
    })
}

impl State {
    /// Opens the folder `name` in `base`, making it if necessary, and ends the processes that a killed run left there.
    /// Returns their names too.
    ///
    /// # Errors
    /// When a living run holds the folder, or it cannot be made safely.
    pub async fn open(base: &Path, name: &str) -> Result<(Self, Vec<String>)> {
        let root = root(base, name)?;
        safe_folder(&root)?;
        let Some(lock) = try_lock(&root)? else {
            let owner = owner(&root).map(|owner| format!(" by process {}", owner.pid())).unwrap_or_default();
            let (root, base) = (root.display(), quote::shell(text_of(&absolute(base)?)?));
            bail!(
                "{root} is in use{owner}: `cargo xtask down --state {base}` stops what runs there; a second system \
                 needs a --state and a --port-base of its own"
            );
        };
        let state = Self { root, lock };
        let mut ended = pid_file::end_leftovers(&state.pids()).await?;
        ended.extend(strays::end(&state.root, LOCK).await?);
        state.prepare()?;
        Ok((state, ended))
    }

    /// Makes a new folder for one run, and removes the folders of runs that are over.
    ///
    /// # Errors
    /// When the folder cannot be made safely.
    pub async fn for_run(base: &Path) -> Result<Self> {
        let base = &absolute(base)?;
        safe_folder(base)?;
        sweep(base).await?;
        let id = Uuid::new_v4().simple().to_string();
        // Another run's sweep may find the folder as soon as it has its final name, so it is locked before that.
        let (unborn, root) =
            (base.join(format!("new-{id}")), base.join(format!("{RUN_PREFIX}{}", &id[..12])));
        safe_folder(&unborn)?;
        let lock = try_lock(&unborn)?.context("a new folder is locked")?;
        fs::rename(&unborn, &root).with_context(|| format!("naming {}", root.display()))?;
        let state = Self { root, lock };
        state.prepare()?;
        Ok(state)
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file or folder `name` in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The folder `name` in it, made for this account alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.path(name);
        crate::account::private_folder(&folder, None)?;
        Ok(folder)
    }

    /// The log file of a process.
    #[must_use]
    pub fn log(&self, process: &str) -> PathBuf {
        self.root.join("logs").join(format!("{process}.log"))
    }

    /// The pid file of a process.
    #[must_use]
    pub fn pid_file(&self, process: &str) -> PathBuf {
        self.pids().join(format!("{process}.pid"))
    }

    /// A random secret of 64 hexadecimal digits (244 random bits), which is kept with the folder.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn secret(&self, name: &str) -> Result<String> {
        let path = secret_path(&self.root, name);
        if let Ok(secret) = fs::read_to_string(&path) {
            return Ok(secret);
        }
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        private_file(&path, &secret, None)?;
        Ok(secret)
    }

    /// Writes a file among the secrets, replacing one of this name, and returns its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_secret(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = secret_path(&self.root, name);
        private_file(&path, content, None)?;
        Ok(path)
    }

    /// Removes the folder. Whatever runs in it must have been stopped.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.root).with_context(|| format!("removing {}", self.root.display()))
    }

    fn pids(&self) -> PathBuf {
        self.root.join("pids")
    }

    fn prepare(&self) -> Result<()> {
        for folder in [self.pids(), self.root.join("logs"), self.root.join("secrets")] {
            crate::account::private_folder(&folder, None)?;
        }
        let me = Identity::of("the run", std::process::id())?;
        private_file(&self.root.join(OWNER), &serde_json::to_string(&me)?, None)
    }
}

impl Drop for State {
    /// Closing the file would not release the lock: a child that is just being started has a copy of it for a moment.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// Where [`State::open`] puts the folder `name`.
///
/// # Errors
/// When the path cannot be one of a state folder.
pub fn root(base: &Path, name: &str) -> Result<PathBuf> {
    Ok(absolute(base)?.join(name))
}

/// Whether something runs in the folder at `root`, locked or not, there or removed.
#[must_use]
pub fn is_used(root: &Path) -> bool {
    owner(root).is_some() || strays::any(root, LOCK)
}

/// A path as text, for the configuration files of servers.
pub(crate) fn text_of(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{path:?} is not valid UTF-8"))
}

/// The same path from the root, since servers work in folders of their own. It can stand in a line of a file.
fn absolute(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).with_context(|| format!("{path:?} is no path"))?;
    let is_plain = !text_of(&path)?.contains(char::is_control);
    ensure!(
        is_plain,
        "{path:?} cannot be a state folder: its path has a line break or another control character"
    );
    Ok(path)
}

/// The path of a secret in a state folder.
#[must_use]
pub fn secret_path(root: &Path, name: &str) -> PathBuf {
    root.join("secrets").join(name)
}

/// The process that holds the folder; `None` when it has died.
#[must_use]
pub fn owner(root: &Path) -> Option<Identity> {
    pid_file::read(&root.join(OWNER)).filter(Identity::is_alive)
}

/// Removes the folders of runs that are over, and ends the processes that they left.
async fn sweep(base: &Path) -> Result<()> {
    for entry in fs::read_dir(base).with_context(|| format!("reading {}", base.display()))? {
        let root = entry?.path();
        let is_run = root.file_name().is_some_and(|name| name.to_string_lossy().starts_with(RUN_PREFIX));
        // Another run may sweep at the same time, so a folder may be gone already.
        if !is_run || !root.is_dir() {
            continue;
        }
        if let Ok(Some(_lock)) = try_lock(&root) {
            pid_file::end_leftovers(&root.join("pids")).await?;
            let _ = fs::remove_dir_all(&root);
        }
    }
    Ok(())
}

fn try_lock(root: &Path) -> Result<Option<File>> {
    let path = root.join(LOCK);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    let inode = |data: io::Result<fs::Metadata>| data.map(|data| data.ino()).ok();
    match file.try_lock() {
        // The folder may have been removed and made again in between.
        Ok(()) if inode(file.metadata()) == inode(fs::metadata(&path)) => Ok(Some(file)),
        Ok(()) => bail!("{} is being removed", root.display()),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// Makes a folder that others may enter but not change. Refuses one that somebody else owns or can write to.
fn safe_folder(path: &Path) -> Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("creating {}", folder.display()));
            }
            _ => {}
        }
        // Whatever the umask: the databases' accounts pass through.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("opening {} to the databases", folder.display()))?;
    }
    let data = fs::symlink_metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    if !data.is_dir() || data.uid() != Uid::effective().as_raw() || data.mode() & 0o022 != 0 {
        bail!("{} must be a folder of yours that nobody else can write to", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> PathBuf {
        std::env::temp_dir().join(format!("testkit-state-{}", Uuid::new_v4()))
    }

    #[tokio::test]
    async fn a_folder_in_use_is_refused_and_a_released_one_is_not() {
        let base = scratch();
        let (state, _) = State::open(&base, "up").await.unwrap();
        let secret = state.secret("postgres").unwrap();
        let refused = State::open(&base, "up").await.unwrap_err().to_string();
        assert!(refused.contains(&format!("is in use by process {}", std::process::id())), "{refused}");
        drop(state);
        let (again, _) = State::open(&base, "up").await.unwrap();
        assert_eq!(again.secret("postgres").unwrap(), secret);
        fs::remove_dir_all(base).unwrap();
    }

    #[tokio::test]
    async fn only_the_folders_of_dead_runs_are_swept() {
        let base = scratch();
        let dead = State::for_run(&base).await.unwrap().root().to_path_buf();
        let alive = State::for_run(&base).await.unwrap();
        assert!(!dead.exists());
        let _another = State::for_run(&base).await.unwrap();
        assert!(alive.root().exists());
        fs::remove_dir_all(base).unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_others_can_write_to_is_refused() {
        let base = scratch();
        fs::create_dir(&base).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(State::for_run(&base).await.unwrap_err().to_string().contains("nobody else can write"));
        fs::remove_dir_all(base).unwrap();
    }
}
