//! The operating-system account that a database server runs as.
//!
//! Databases never run as root. When root starts them (in a container, on a CI machine), they run under an account that
//! the distribution's packages made. When another user starts them, they run as that user.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};

use crate::command;
use crate::programs::on_path;

/// An account to switch to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// The first of `names` that exists, when this process is root; else `None`, and no switch is needed.
    ///
    /// # Errors
    /// When this process is root and none of the names is an account.
    pub fn for_server(names: &[&str]) -> Result<Option<Self>> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        for name in names {
            if let Some(user) = User::from_name(name).with_context(|| format!("looking up account {name}"))? {
                return Ok(Some(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }));
            }
        }
        bail!("databases do not run as root, and none of these accounts exists: {}", names.join(", "))
    }

    /// Makes this account the owner of `path`.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("giving {} to {}", path.display(), self.name))
    }

    /// Whether this account may run the program at `path`, which has no symbolic link in it.
    pub(crate) fn can_run(&self, path: &Path) -> bool {
        const READ_AND_RUN: u32 = 0o5;
        let is_open = |mode: u32| mode & READ_AND_RUN == READ_AND_RUN;
        self.check_reach(path).is_ok() && fs::metadata(path).is_ok_and(|data| is_open(data.mode()))
    }

    /// Fails when this account cannot reach `path`; the error names the folder that it cannot enter.
    pub(crate) fn check_reach(&self, path: &Path) -> Result<()> {
        for folder in path.ancestors().skip(1).filter(|folder| folder.exists()) {
            let data = fs::metadata(folder).with_context(|| format!("looking at {}", folder.display()))?;
            let mode = data.mode();
            let may_search = (data.uid() == self.uid && mode & 0o100 != 0)
                || (data.gid() == self.gid && mode & 0o010 != 0)
                || mode & 0o001 != 0;
            if !may_search {
                let folder = folder.display();
                bail!(
                    "account {} cannot reach {}: {folder} is closed to it; choose another state folder",
                    self.name,
                    path.display()
                );
            }
        }
        Ok(())
    }
}

/// Makes a folder that only its owner may enter, owned by `account` when there is one.
pub(crate) fn private_folder(path: &Path, account: Option<&Account>) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("closing {} to others", path.display()))?;
    account.map_or(Ok(()), |account| {
        account.check_reach(path)?;
        account.own(path)
    })
}

/// Writes a file that only its owner may read, owned by `account` when there is one.
pub(crate) fn private_file(path: &Path, content: &str, account: Option<&Account>) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    // Removed first, so that it is a new file that nobody else holds open.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("replacing {}", path.display()));
        }
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("creating {}", path.display()))?;
    file.write_all(content.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
    account.map_or(Ok(()), |account| account.own(path))
}

/// A command that runs a server, or a program beside one, under `account`. The kernel sends it `at_our_end` when we die.
pub(crate) fn run_as(
    account: Option<&Account>,
    at_our_end: Option<Signal>,
    program: &Path,
) -> Result<Command> {
    let mut wrapper = Vec::new();
    if let Some(signal) = at_our_end {
        wrapper.extend(["--pdeathsig".to_owned(), signal.as_str().trim_start_matches("SIG").to_owned()]);
    }
    if let Some(Account { uid, gid, .. }) = account {
        wrapper.extend([format!("--reuid={uid}"), format!("--regid={gid}"), "--init-groups".to_owned()]);
    }
    if wrapper.is_empty() {
        return Ok(command::server(program));
    }
    // setpriv replaces itself by the program, so the child's process number is the program's.
    let setpriv = on_path("setpriv").context("setpriv is missing: the package util-linux has it")?;
    let mut command = command::server(setpriv);
    command.args(wrapper).arg("--").arg(program);
    Ok(command)
}
