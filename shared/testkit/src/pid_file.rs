//! Records of the processes that a run has started, so that a later run can end what a killed run left behind.
//!
//! A process number alone proves nothing, since the system uses numbers again. The file also holds the process's start
//! time and the id of the system's boot, and a process is only ever signalled when all three agree.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use procfs::ProcResult;
use procfs::process::{Process, Stat, all_processes};
use procfs::sys::kernel::random::boot_id;
use serde::{Deserialize, Serialize};

use crate::account::private_file;
use crate::wait::wait_until;

/// After SIGTERM PostgreSQL waits for its clients to leave, so SIGINT follows before SIGKILL.
const LADDER: [(Signal, Duration); 3] = [
    (Signal::SIGTERM, Duration::from_secs(3)),
    (Signal::SIGINT, Duration::from_secs(10)),
    (Signal::SIGKILL, Duration::from_secs(10)),
];

/// Identifies a process, also against a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    name: String,
    pid: i32,
    start_ticks: u64,
    boot: String,
}

impl Identity {
    /// The identity of a process that runs now.
    ///
    /// # Errors
    /// When there is none with that number.
    pub fn of(name: &str, pid: u32) -> Result<Self> {
        let pid = i32::try_from(pid).context("a process number")?;
        let start_ticks = stat(pid).with_context(|| format!("process {pid} is gone"))?.starttime;
        Ok(Self { name: name.to_owned(), pid, start_ticks, boot: boot_id()? })
    }

    /// Whether exactly this process still runs. One that has ended and is still a zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot)
            && stat(self.pid).is_ok_and(|stat| stat.starttime == self.start_ticks && stat.state != 'Z')
    }

    /// The process number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends `signal` to this process alone.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.is_alive() {
            nix::sys::signal::kill(Pid::from_raw(self.pid), signal)
                .with_context(|| format!("sending {signal} to {} ({})", self.name, self.pid))?;
        }
        Ok(())
    }

    /// Ends this process and its group, with ever harder signals.
    ///
    /// # Errors
    /// When it outlives all of them.
    pub async fn end(&self) -> Result<()> {
        for (signal, within) in LADDER {
            if !self.is_alive() {
                return Ok(());
            }
            // It should lead its own group; if not, the signal goes to it alone. A stopped process must wake up to end.
            if killpg(Pid::from_raw(self.pid), signal).is_err() {
                self.signal(signal)?;
            }
            self.signal(Signal::SIGCONT)?;
            let gone =
                wait_until(
                    within,
                    "its end",
                    async || {
                        if self.is_alive() { Err("still running") } else { Ok(()) }
                    },
                );
            if gone.await.is_ok() {
                return Ok(());
            }
        }
        bail!("{} (process {}) does not end", self.name, self.pid)
    }
}

/// Records that `identity` runs.
pub(crate) fn write(path: &Path, identity: &Identity) -> Result<()> {
    private_file(path, &serde_json::to_string(identity)?, None)
}

/// What a pid file says; `None` when it is missing or malformed.
#[must_use]
pub fn read(path: &Path) -> Option<Identity> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// Ends every living process that the pid files of `folder` name, and removes the files. Returns the processes' names.
///
/// # Errors
/// When one cannot be ended.
pub async fn end_leftovers(folder: &Path) -> Result<Vec<String>> {
    let mut ended = Vec::new();
    for path in pid_files(folder) {
        if let Some(identity) = read(&path).filter(Identity::is_alive) {
            identity.end().await?;
            ended.push(format!("{} (process {})", identity.name, identity.pid));
        }
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(ended)
}

fn pid_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "pid"))
        .collect()
}

/// All living descendants of a process, itself first.
pub(crate) fn tree(root: i32) -> Vec<i32> {
    let all: Vec<Stat> =
        all_processes().into_iter().flatten().flatten().filter_map(|one| one.stat().ok()).collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|stat| stat.ppid == parent).map(|stat| stat.pid));
        next += 1;
    }
    found
}

/// What the kernel reports about a process.
pub(crate) fn stat(pid: i32) -> ProcResult<Stat> {
    Process::new(pid)?.stat()
}

/// Whether no thread of a process does anything: each is stopped by a signal, or has ended.
pub(crate) fn is_stopped(pid: i32) -> bool {
    let Ok(threads) = Process::new(pid).and_then(|process| process.tasks()) else { return true };
    let is_still = |state: char| matches!(state, 'T' | 't' | 'Z' | 'X');
    threads.flatten().filter_map(|thread| thread.stat().ok()).all(|stat| is_still(stat.state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_with_the_same_number_is_not_ours() {
        let me = Identity::of("me", std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Identity { start_ticks: me.start_ticks + 1, ..me.clone() }.is_alive());
        assert!(!Identity { boot: "another".to_owned(), ..me }.is_alive());
    }
}
