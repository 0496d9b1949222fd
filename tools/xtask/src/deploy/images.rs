//! `deploy images`: builds what is shipped.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use testkit::state::workspace;
use tokio::process::Command;

use super::docker;
use crate::out;
use crate::program::{revision, run_in_workspace};

/// The targets of the Dockerfile that become images of these names.
const IMAGES: [&str; 4] = ["user-service", "order-service", "session-service", "tristore"];
/// The image of the clients in `deploy/grpc/clients`.
pub(super) const CLIENTS: &str = "grpc-clients";
const LARGEST: u64 = 64 << 20;

/// Builds the images of `deploy/Dockerfile`, and says how large they are: an image of more than 64 MiB is an error.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Makes stand-ins of what they are built on, where no registry is to be reached (`deploy/stand-ins`).
    #[arg(long)]
    stand_ins: bool,
    /// Also writes what each program is made of into this folder (`CycloneDX`).
    #[arg(long, value_name = "DIR")]
    sbom: Option<PathBuf>,
    /// Also builds an image with the clients of `deploy/grpc/clients`, for a trial under load.
    #[arg(long)]
    clients: bool,
}

pub(super) async fn run(args: &Args) -> Result<ExitCode> {
    build(args.stand_ins).await?;
    if let Some(folder) = &args.sbom {
        let folder = folder.to_str().context("the path of the folder is no text")?;
        docker::run(&["build", "--file", DOCKERFILE, "--target", "sbom", "--output", folder, "."]).await?;
    }
    if args.clients {
        build_clients(args.stand_ins).await?;
    }
    Ok(ExitCode::SUCCESS)
}

const DOCKERFILE: &str = "deploy/Dockerfile";

/// All images, under the version of the workspace.
pub(super) async fn build(stand_ins: bool) -> Result<()> {
    if stand_ins {
        make_stand_ins(&[]).await?;
    }
    let revision = revision("HEAD").await.unwrap_or_else(|| "unknown".to_owned());
    for image in IMAGES {
        out::step(format_args!("the image {image}"));
        let (tag, revision) = (tag(image), format!("SOURCE_REVISION={revision}"));
        let mut args =
            vec!["build", "--file", DOCKERFILE, "--target", image, "--tag", &tag, "--build-arg", &revision];
        if stand_ins {
            args.extend(NETWORK);
        }
        args.push(".");
        docker::run(&args).await?;
    }
    for image in IMAGES {
        let bytes = docker::ask(&["image", "inspect", "--format", "{{.Size}}", &tag(image)]).await?;
        let bytes: u64 = bytes.parse().with_context(|| format!("a size, not {bytes}"))?;
        out::line(format_args!("{image:<16} {:>5.1} MiB", f64::from(u32::try_from(bytes >> 10)?) / 1024.0));
        ensure!(bytes <= LARGEST, "{image} is larger than {} MiB", LARGEST >> 20);
    }
    Ok(())
}

/// The image of the clients, which is not shipped.
async fn build_clients(stand_ins: bool) -> Result<()> {
    if stand_ins {
        make_stand_ins(&["rust", "golang", "node", "python"]).await?;
    }
    out::step(format_args!("the image {CLIENTS}"));
    let tag = tag(CLIENTS);
    let mut args = vec!["build", "--file", "deploy/grpc/clients/Dockerfile", "--tag", &tag];
    if stand_ins {
        args.extend(NETWORK);
    }
    args.push(".");
    docker::run(&args).await
}

/// A network of Docker's own may not reach what this machine reaches.
const NETWORK: [&str; 2] = ["--network", "host"];

/// These, or those that what is shipped needs.
async fn make_stand_ins(names: &[&str]) -> Result<()> {
    out::step("stand-ins for public images");
    let mut command = Command::from(testkit::installer("sh"));
    command.arg(workspace().join("deploy/stand-ins/make.sh")).args(names);
    run_in_workspace(command).await
}

/// An image's name with its version.
pub(super) fn tag(image: &str) -> String {
    format!("{image}:{}", env!("CARGO_PKG_VERSION"))
}
