//! `deploy compose`: runs the system of `docker-compose.yml`.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::client::Api;
use testkit::programs;
use testkit::state::workspace;
use testkit::wait_until;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;
use uuid::Uuid;

use super::{docker, fresh, images};
use crate::demo;
use crate::out;
use crate::program::run_in_workspace;

/// Of its own, beside what a user has of the same file.
const PROJECT: &str = "tristore-trial";
const SERVICES: [&str; 3] = ["user-service", "order-service", "session-service"];
/// From nothing to health: databases are made, and migrations applied.
const STARTS_WITHIN: Duration = Duration::from_secs(180);

/// Runs the system of `docker-compose.yml` on volumes of its own, does the work of `demo` through its ports, and removes it.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Makes stand-ins of public images, where no registry is to be reached (`deploy/stand-ins`).
    #[arg(long)]
    stand_ins: bool,
    /// Takes the images that are there, and builds none.
    #[arg(long)]
    built: bool,
    /// Leaves it running.
    #[arg(long)]
    keep: bool,
}

pub(super) async fn run(args: &Args) -> Result<ExitCode> {
    if !args.built {
        images::build(args.stand_ins).await?;
    }
    let secrets = workspace().join("deploy/compose/secrets");
    let are_new = !secrets.exists();
    if are_new {
        out::step("secrets");
        run_in_workspace(fresh::secrets(args.stand_ins, "compose")).await?;
    }
    out::step("starting it");
    let played = started_and_played().await;
    if played.is_err() {
        // What it said says why.
        let _shown = compose(&["logs", "--tail=20"]).await;
    }
    if !args.keep {
        out::step("removing it");
        compose(&["down", "--volumes"]).await?;
        if are_new {
            std::fs::remove_dir_all(&secrets).context("removing the secrets of this run")?;
        }
    }
    played?;
    Ok(ExitCode::SUCCESS)
}

async fn started_and_played() -> Result<()> {
    let began = std::time::Instant::now();
    let up = timeout(STARTS_WITHIN, compose(&["up", "--detach", "--no-build"])).await;
    up.context("it does not start in time")??;
    wait_until(STARTS_WITHIN, "all services to be healthy", async || {
        for service in SERVICES {
            let id = ask(&["ps", "--quiet", service]).await?;
            let state = docker::ask(&["inspect", "--format", "{{.State.Health.Status}}", &id]).await?;
            ensure!(state == "healthy", "{service} is {state}");
        }
        Ok(())
    })
    .await?;
    out::line(format_args!("healthy after {:.0} s", began.elapsed().as_secs_f64()));
    let (email, password) = (fresh::admin_email(), Uuid::new_v4().to_string());
    bootstrap_admin(&email, &password).await?;
    let api = Api::new("http://127.0.0.1:50051", "http://127.0.0.1:50052", "http://127.0.0.1:50053")?;
    demo::play(&api, (&email, &password)).await
}

async fn bootstrap_admin(email: &str, password: &str) -> Result<()> {
    let mut command = command(&["exec", "-T", "user-service", "/user-service", "bootstrap-admin"])?;
    command.args(["--email", email, "--display-name", "Admin", "--password-stdin"]);
    command.current_dir(workspace()).stdin(Stdio::piped()).kill_on_drop(true);
    let mut running = command.spawn().context("running docker compose")?;
    let mut stdin = running.stdin.take().context("standard input")?;
    stdin.write_all(format!("{password}\n").as_bytes()).await.context("saying the password")?;
    drop(stdin);
    let status = running.wait().await.context("bootstrap-admin")?;
    ensure!(status.success(), "bootstrap-admin ended with {status}");
    Ok(())
}

/// The plugin where there is one, else the command of version 1.
fn command(args: &[&str]) -> Result<Command> {
    let plugin = testkit::installer("docker")
        .args(["compose", "version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let mut command = match plugin {
        Ok(status) if status.success() => docker::docker(&["compose"])?,
        _ => {
            let compose = programs::on_path("docker-compose").context("there is no docker compose")?;
            Command::from(testkit::installer(compose))
        }
    };
    command.args(["--project-name", PROJECT]).args(args);
    Ok(command)
}

async fn compose(args: &[&str]) -> Result<()> {
    run_in_workspace(command(args)?).await.with_context(|| format!("docker compose {}", args.join(" ")))
}

async fn ask(args: &[&str]) -> Result<String> {
    let mut command = command(args)?;
    let output =
        command.current_dir(workspace()).kill_on_drop(true).output().await.context("docker compose")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
