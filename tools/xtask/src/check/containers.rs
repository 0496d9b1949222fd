//! What hadolint says of the Dockerfile, and docker-compose 1.29 of its file. Neither needs Docker.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use testkit::programs;
use testkit::state::workspace;
use tokio::process::Command;
use uuid::Uuid;

use crate::program::run_in_workspace;

pub(super) async fn lint() -> Result<()> {
    let mut command = tool("hadolint")?;
    command.arg("deploy/Dockerfile");
    run_in_workspace(command).await
}

/// Compose reads files that it is told of, and secrets are among them: so it is asked about a copy that has some.
pub(super) async fn compose() -> Result<()> {
    let copy = Copy::new().context("copying the file")?;
    let mut command = Command::from(testkit::tool("sh"));
    command.args(["deploy/secrets.sh", "compose"]).current_dir(&copy.0);
    ensure!(command.status().await?.success(), "secrets.sh has failed");
    let mut command = tool("docker-compose")?;
    command.args(["config", "--quiet"]).current_dir(&copy.0).kill_on_drop(true);
    let status = command.status().await.context("running docker-compose")?;
    ensure!(status.success(), "docker-compose does not take docker-compose.yml");
    Ok(())
}

fn tool(name: &str) -> Result<Command> {
    let program = programs::tool(name);
    let program = program.with_context(|| format!("{name} is missing: run `cargo xtask tools`"))?;
    Ok(testkit::tool(program).into())
}

/// A folder with what compose and the script read, gone with this.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Result<Self> {
        let copy = Self(std::env::temp_dir().join(format!("tristore-compose-{}", Uuid::new_v4())));
        fs::create_dir_all(copy.0.join("deploy/compose"))?;
        fs::create_dir_all(copy.0.join("migrations/session"))?;
        for file in ["docker-compose.yml", "deploy/secrets.sh", "migrations/session/users.acl"] {
            fs::copy(workspace().join(file), copy.0.join(file)).with_context(|| file.to_owned())?;
        }
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Made-up secrets that stay behind harm nobody.
        let _stays = fs::remove_dir_all(&self.0);
    }
}
