//! `deploy`: tries what is deployed on a real system.

mod compose;
mod docker;
mod fresh;
mod images;
mod kubernetes;

use std::process::ExitCode;

use anyhow::Result;

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

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    match args.target {
        Target::Images(args) => images::run(&args).await,
        Target::Compose(args) => compose::run(&args).await,
        Target::Kubernetes(args) => kubernetes::run(&args).await,
    }
}
