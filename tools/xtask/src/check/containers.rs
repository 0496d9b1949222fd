//! What hadolint says of the Dockerfiles, and docker-compose 1.29 of its file. Neither needs Docker.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use testkit::state::workspace;
use tokio::process::Command;
use uuid::Uuid;

use crate::program::{run_in_workspace, tool};

const FILE: &str = "docker-compose.yml";

pub(super) async fn lint() -> Result<()> {
    let mut command = tool("hadolint")?;
    command.args(["deploy/Dockerfile", "deploy/grpc/clients/Dockerfile"]);
    run_in_workspace(command).await
}

/// Compose reads files that it is told of, and secrets are among them: so it is asked about a copy that has some.
pub(super) async fn compose() -> Result<()> {
    let copy = Copy::new().context("copying the file")?;
    let mut command = Command::from(testkit::tool("sh"));
    command.args(["deploy/secrets.sh", "compose"]).arg(copy.0.join("deploy/compose/secrets"));
    run_in_workspace(command).await.context("secrets.sh")?;
    let mut command = tool("docker-compose")?;
    command.args(["config", "--quiet"]).current_dir(&copy.0).kill_on_drop(true);
    let status = command.status().await.context("running docker-compose")?;
    ensure!(status.success(), "docker-compose does not take docker-compose.yml");
    Ok(())
}

/// A folder with what compose reads, gone with this.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Result<Self> {
        let copy = Self(std::env::temp_dir().join(format!("tristore-compose-{}", Uuid::new_v4())));
        fs::create_dir_all(copy.0.join("deploy/compose"))?;
        fs::copy(workspace().join(FILE), copy.0.join(FILE))?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Made-up secrets that stay behind harm nobody.
        let _stays = fs::remove_dir_all(&self.0);
    }
}
