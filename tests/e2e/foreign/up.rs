//! A `cargo xtask up` beside whatever else runs: in a state folder and on ports of its own.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Profile, ReservedPort, state};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use uuid::Uuid;

const UP_WITHIN: Duration = Duration::from_secs(300);
const DOWN_WITHIN: Duration = Duration::from_secs(60);
/// How many ports `up` takes after its base.
const PORTS: u16 = 7;

/// A running `up`, which got ready.
#[derive(Debug)]
pub(super) struct Up {
    child: Child,
    base: u16,
    /// Its state folder.
    pub(super) folder: PathBuf,
    printed: String,
}

impl Up {
    /// Starts it and reads what it prints until it is ready.
    pub(super) async fn start() -> Result<Self> {
        Profile::Debug.build(&["xtask"]).await?;
        let (base, folder) = (port_base()?, format!("/var/tmp/tristore-up-{}", Uuid::new_v4().simple()));
        let mut child = Command::new(Profile::Debug.binary("xtask"))
            .args(["up", "--state", &folder, "--port-base", &base.to_string()])
            .current_dir(state::workspace())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting xtask up")?;
        let mut lines = BufReader::new(child.stdout.take().context("standard output")?).lines();
        let mut printed = String::new();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("Ctrl-C stops") {
                    return Ok(());
                }
                printed.push_str(&line);
                printed.push('\n');
            }
            anyhow::bail!("up ended before it was ready:\n{printed}")
        };
        timeout(UP_WITHIN, ready).await.context("up is not ready in time")??;
        Ok(Self { child, base, folder: folder.into(), printed })
    }

    /// The lines to paste: from the first call to the end.
    pub(super) fn lines(&self) -> Result<&str> {
        let starts = ["export PATH=", "# What each service offers."];
        let start = starts.iter().filter_map(|start| self.printed.find(start)).min();
        Ok(&self.printed[start.with_context(|| format!("up printed no calls:\n{}", self.printed))?..])
    }

    /// A command for the ports that `up` has when nobody chose, as a command for those that it has here.
    pub(super) fn here(&self, command: &str) -> String {
        (1..=3).fold(command.to_owned(), |command, offset: u16| {
            command.replace(
                &format!("localhost:{}", 50_050 + offset),
                &format!("localhost:{}", self.base + offset),
            )
        })
    }

    /// Stops it as Ctrl-C does.
    pub(super) async fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id().context("up still runs")?)?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        let status = timeout(DOWN_WITHIN, self.child.wait()).await.context("up does not end")??;
        ensure!(status.success(), "up ended with {status}");
        std::fs::remove_dir_all(&self.folder).context("removing the state folder")
    }
}

/// A base with room after it.
fn port_base() -> Result<u16> {
    for _ in 0..50 {
        let base = ReservedPort::any()?.release();
        if (1..=PORTS).all(|offset| ReservedPort::this(base + offset).is_ok()) {
            return Ok(base);
        }
    }
    anyhow::bail!("no {PORTS} free ports beside each other")
}
