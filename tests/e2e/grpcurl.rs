//! `cargo xtask up` as a person uses it: the lines that it prints are pasted into a shell, as they are.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Profile, ReservedPort, state};
use tests::tool;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use uuid::Uuid;

const UP_WITHIN: Duration = Duration::from_secs(180);
const LINES_WITHIN: Duration = Duration::from_secs(60);
const DOWN_WITHIN: Duration = Duration::from_secs(60);
/// How many ports `up` takes after its base.
const PORTS: u16 = 7;

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

/// Starts `up` and reads what it prints until it is ready.
async fn up(folder: &str) -> Result<(Child, String)> {
    Profile::Debug.build(&["xtask"]).await?;
    let mut child = Command::new(Profile::Debug.binary("xtask"))
        .args(["up", "--state", folder, "--port-base", &port_base()?.to_string()])
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
    Ok((child, printed))
}

/// The lines to paste: from the first call to the end.
fn script(printed: &str) -> Result<&str> {
    let start =
        ["export PATH=", "# What each service offers."].iter().filter_map(|start| printed.find(start)).min();
    Ok(&printed[start.with_context(|| format!("up printed no calls:\n{printed}"))?..])
}

#[tokio::test]
async fn the_lines_that_up_prints_pay_an_order() -> Result<()> {
    let Some(grpcurl) = tool::find("grpcurl", "the_lines_that_up_prints_pay_an_order") else { return Ok(()) };
    let folder = format!("/var/tmp/tristore-up-{}", Uuid::new_v4().simple());
    let (mut child, printed) = up(&folder).await?;
    let script = format!("set -eu\n{}", script(&printed)?);
    let bin = grpcurl.parent().context("a folder")?;
    let path = format!("{}:{}", bin.display(), testkit::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh")
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting a shell")?;
    shell.stdin.take().context("standard input")?.write_all(script.as_bytes()).await?;
    let output =
        timeout(LINES_WITHIN, shell.wait_with_output()).await.context("the lines take too long")??;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));

    for service in ["user.v1.WalletService", "order.v1.TransferService", "session.v1.SessionService"] {
        assert!(said.contains(service), "{service} is not listed:\n{said}");
    }
    assert!(said.contains("rpc PayOrder"), "TransferService is not described:\n{said}");
    assert_eq!(said.matches("STATE_COMPLETED").count(), 2, "a payment and a refund complete:\n{said}");
    for (what, balance) in [("Ann's wallet", "\"2600\""), ("Ben's account", "\"2400\"")] {
        assert!(said.contains(balance), "{what} should have {balance}:\n{said}");
    }

    let pid = i32::try_from(child.id().context("up still runs")?)?;
    kill(Pid::from_raw(pid), Signal::SIGTERM)?;
    let status = timeout(DOWN_WITHIN, child.wait()).await.context("up does not end")??;
    ensure!(status.success(), "up ended with {status}");
    std::fs::remove_dir_all(&folder).context("removing the state folder")
}
