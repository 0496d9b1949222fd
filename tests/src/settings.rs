//! What a service makes of the settings that a deployment gives it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use testkit::Profile;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// How long a service may take to say that it starts, or why it does not.
const SOON: Duration = Duration::from_secs(20);

/// What a service says of the configuration that it starts with. It does not get to its database.
///
/// # Errors
/// When it does not start, or does not know a variable.
pub async fn effective(
    service: &str,
    args: &[&str],
    settings: impl Iterator<Item = (String, String)>,
) -> Result<Value> {
    let mut command = Command::from(testkit::tool(Profile::own().binary(service)?));
    // Any port of this machine may be taken.
    command.args(args).args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).envs(settings);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(process.stderr.take().context("standard error")?).lines();
    let mut said = Vec::new();
    while let Some(line) = timeout(SOON, lines.next_line()).await.context("it says nothing")?? {
        let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
        ensure!(!line.contains("looks like a setting"), "a variable is not known: {line}");
        if parsed["message"] == "starting" {
            let config = parsed["config"].as_str().unwrap_or_default();
            return serde_json::from_str(config).context("the configuration");
        }
        said.push(line);
    }
    bail!("it does not start: {}", said.join("\n"))
}
