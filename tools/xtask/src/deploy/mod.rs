//! `deploy`: tries what is deployed on a real system.

mod compose;
mod docker;
mod images;
mod kubernetes;

use std::process::ExitCode;

use anyhow::Result;
use tokio::process::Command;
use uuid::Uuid;

use crate::local::ADMIN_EMAIL;

/// Tries images and manifests on a real system.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(clap::Subcommand)]
enum Target {
    Images(images::Args),
    Compose(compose::Args),
    Kubernetes(kubernetes::Args),
}

/// The address of an admin of this run's own: those of earlier runs keep their passwords.
fn admin_email() -> String {
    format!("{}.{ADMIN_EMAIL}", Uuid::new_v4().simple())
}

/// Prints or writes new secrets for a target of `secrets.sh`. The stand-in for MongoDB is reached in another way.
fn secrets(stand_ins: bool, target: &str) -> Command {
    let mut command = Command::from(testkit::tool("sh"));
    if stand_ins {
        command.env("MONGODB_SET", "directConnection=true");
    }
    command.args(["deploy/secrets.sh", target]);
    command
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    match args.target {
        Target::Images(args) => images::run(&args).await,
        Target::Compose(args) => compose::run(&args).await,
        Target::Kubernetes(args) => kubernetes::run(&args).await,
    }
}
