//! A `cargo xtask up` beside whatever else runs: in a state folder and on ports of its own, started in an odd shell, and
//! `cargo xtask down`, which stops it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Profile, ReservedPort, state};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use uuid::Uuid;

use super::odd_shell;

const UP_WITHIN: Duration = Duration::from_secs(300);
const DOWN_WITHIN: Duration = Duration::from_secs(60);
/// How many ports `up` takes after its base.
const PORTS: u16 = 13;
/// Bases: above all ports that testkit gives to others, below those of outgoing connections.
const FIRST_BASE: u16 = 32_000;
const BASES: u16 = (32_760 - FIRST_BASE) / (PORTS + 1);

/// A running `up`, which got ready.
#[derive(Debug)]
pub(super) struct Up {
    child: Child,
    base: u16,
    /// Its state folder.
    pub(super) folder: PathBuf,
    /// What it is told to take for MongoDB.
    mongod: Option<PathBuf>,
    printed: String,
}

impl Up {
    /// Starts it and reads what it prints until it is ready.
    pub(super) async fn start() -> Result<Self> {
        Profile::Debug.build(&["xtask"]).await?;
        Self::start_at(port_base()?, new_folder(), None).await
    }

    /// Starts it in this folder with this program for MongoDB.
    pub(super) async fn start_with(folder: PathBuf, mongod: PathBuf) -> Result<Self> {
        Profile::Debug.build(&["xtask"]).await?;
        Self::start_at(port_base()?, folder, Some(mongod)).await
    }

    /// Starts another in the same folder and on the same ports, and reads what that prints until it is ready.
    pub(super) async fn start_again(&self) -> Result<Self> {
        Self::start_at(self.base, self.folder.clone(), self.mongod.clone()).await
    }

    async fn start_at(base: u16, folder: PathBuf, mongod: Option<PathBuf>) -> Result<Self> {
        let mut command = up(base, &folder)?;
        command.envs(mongod.iter().map(|program| ("MONGOD", program)));
        let mut child = command.stdout(Stdio::piped()).spawn().context("starting xtask up")?;
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
        Ok(Self { child, base, folder, mongod, printed })
    }

    /// Starts another on the same ports in `folder`, which ends at once, and gives what it says.
    pub(super) async fn refused(&self, folder: &Path) -> Result<String> {
        let mut command = up(self.base, folder)?;
        let output = timeout(UP_WITHIN, command.env("RUST_BACKTRACE", "full").output()).await??;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(!output.status.success(), "it is not refused: {said}");
        Ok(said)
    }

    /// All that it has printed until it was ready.
    pub(super) fn printed(&self) -> &str {
        &self.printed
    }

    /// The number of its process.
    pub(super) fn pid(&self) -> Result<u32> {
        self.child.id().context("it has been waited for")
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(&mut self) -> Result<()> {
        timeout(DOWN_WITHIN, self.child.wait()).await.context("up does not end")??;
        Ok(())
    }

    /// The lines to paste: from the first call to the end.
    pub(super) fn lines(&self) -> Result<&str> {
        let starts = ["export PATH=", "# Nothing that is set in this shell"];
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

    /// Runs `cargo xtask down` for it, and gives what that printed.
    pub(super) async fn down(&self, more: &[&str]) -> Result<String> {
        down(&self.folder, more).await
    }

    /// Stops it as somebody in another terminal does; nothing of it is left.
    pub(super) async fn stop(mut self) -> Result<()> {
        let ends = async { timeout(DOWN_WITHIN, self.child.wait()).await.context("up does not end") };
        let (said, status) = tokio::join!(down(&self.folder, &[]), ends);
        let (said, status) = (said?, status??);
        ensure!(said.contains("asking `up`") && said.contains("everything is down"), "down says: {said}");
        ensure!(status.success(), "up ended with {status}");
        let left = self.running()?;
        ensure!(left.is_empty(), "still running: {left:?}");
        std::fs::remove_dir_all(&self.folder).context("removing the state folder")
    }

    /// SIGKILL, which gives it no time to stop what it has started.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("killing up")
    }

    /// The command lines of the processes that run in its folder or are told of it.
    pub(super) fn running(&self) -> Result<Vec<String>> {
        let folder = self.folder.to_str().context("a folder's name")?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").context("reading /proc")? {
            let process = entry?.path();
            // Whatever is no process has none, and whoever ends meanwhile has none any more.
            let Ok(line) = std::fs::read(process.join("cmdline")) else { continue };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let is_there =
                std::fs::read_link(process.join("cwd")).is_ok_and(|place| place.starts_with(folder));
            // A zombie has no command line.
            if !line.is_empty() && (is_there || line.contains(folder)) {
                found.push(line);
            }
        }
        Ok(found)
    }
}

/// A state folder that is not there yet.
pub(super) fn new_folder() -> PathBuf {
    format!("/var/tmp/tristore-up-{} {}", Uuid::new_v4().simple(), odd_shell::FOLDER).into()
}

fn up(base: u16, folder: &Path) -> Result<Command> {
    let mut up = Command::from(testkit::task(Profile::Debug.binary("xtask")?));
    up.args(["up", "--port-base", &base.to_string(), "--state"]).arg(folder);
    up.envs(odd_shell::VARIABLES).current_dir(state::workspace()).kill_on_drop(true);
    Ok(up)
}

async fn down(folder: &Path, more: &[&str]) -> Result<String> {
    let mut down = Command::from(testkit::task(Profile::Debug.binary("xtask")?));
    down.args(["down", "--state"]).arg(folder).args(more).kill_on_drop(true);
    let output = timeout(DOWN_WITHIN, down.output()).await.context("down does not end")??;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

/// A base with room after it, of which this process has chosen no other.
fn port_base() -> Result<u16> {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        AtomicU16::new(u16::try_from(Uuid::new_v4().as_u128() % u128::from(BASES)).expect("below all bases"))
    });
    for _ in 0..BASES {
        let base = FIRST_BASE + (NEXT.fetch_add(1, Ordering::Relaxed) % BASES) * (PORTS + 1);
        if (1..=PORTS).all(|offset| ReservedPort::this(base + offset).is_ok()) {
            return Ok(base);
        }
    }
    anyhow::bail!("no {PORTS} free ports beside each other")
}
