//! Processes of a state folder that no pid file tells of, because the folder was removed while they ran.
//!
//! Only what is surely ours is ended: one of the programs that are started in state folders, that works in this one,
//! while we hold the folder's lock; or a process of our own program that still holds the lock that was removed. A
//! person's shell in the folder is neither.

use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::found::Found;
use crate::pid_file::Identity;
use crate::programs;
use crate::wait::wait_until;

/// An owner that is told to end stops everything that it runs, which may take this long.
const STOPS_WITHIN: Duration = Duration::from_secs(60);
/// PostgreSQL's sessions notice that their server is gone.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(10);

/// Whether anything runs in the state folder `root`, though that may have been removed. `lock` is the name of its lock
/// file.
pub(crate) fn any(root: &Path, lock: &str) -> bool {
    let root = &resolved(root);
    !owners(&root.join(lock)).is_empty() || !servers(root).is_empty()
}

/// Ends everything that runs in the state folder `root`, whose lock we hold. Returns their names.
///
/// # Errors
/// When one cannot be ended.
pub(crate) async fn end(root: &Path, lock: &str) -> Result<Vec<String>> {
    let root = &resolved(root);
    let mut ended = Vec::new();
    for owner in owners(&root.join(lock)) {
        let identity = identity(&owner)?;
        identity.signal(Signal::SIGTERM)?;
        let stopped = wait_until(STOPS_WITHIN, "its end", async || gone(&identity)).await;
        if stopped.is_err() {
            identity.end().await?;
        }
        ended.push(format!("{owner}, whose state folder was removed"));
    }
    for server in leaders(servers(root)) {
        // It may have ended with the one before.
        let Ok(identity) = identity(&server) else { continue };
        identity.end().await?;
        ended.push(server.to_string());
    }
    let all_gone = async || {
        let left = servers(root);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} run")) }
    };
    if wait_until(FOLLOWS_WITHIN, "what they have started to end", all_gone).await.is_err() {
        for left in servers(root) {
            identity(&left)?.end().await?;
            ended.push(left.to_string());
        }
    }
    Ok(ended)
}

fn identity(found: &Found) -> Result<Identity> {
    Identity::of(&found.program, found.pid.cast_unsigned())
}

fn gone(identity: &Identity) -> Result<(), &'static str> {
    if identity.is_alive() { Err("it runs") } else { Ok(()) }
}

/// Other processes of our own program that hold the lock file after it was removed.
fn owners(lock: &Path) -> Vec<Found> {
    let holders = Found::holding_removed(lock);
    let is_us = |found: &&Found| found.pid.cast_unsigned() == process::id();
    let us = Found::all().iter().find(is_us).map(|us| us.program.clone());
    holders.into_iter().filter(|found| !is_us(&found) && Some(&found.program) == us.as_ref()).collect()
}

/// The servers and services that work in the folder or below it.
fn servers(root: &Path) -> Vec<Found> {
    let is_one = |found: &Found| programs::is_started(&found.program) && found.folder.starts_with(root);
    Found::all().into_iter().filter(is_one).collect()
}

/// The path without links in it, as the kernel shows it. Its end may be missing.
fn resolved(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let joined = there.and_then(|(above, real)| Some(real.join(path.strip_prefix(above).ok()?)));
    joined.unwrap_or_else(|| path.to_owned())
}

/// Those that none of the others has started.
fn leaders(all: Vec<Found>) -> Vec<Found> {
    let pids: Vec<i32> = all.iter().map(|found| found.pid).collect();
    all.into_iter().filter(|found| !pids.contains(&found.parent)).collect()
}
