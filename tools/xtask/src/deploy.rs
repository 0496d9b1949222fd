//! `deploy`: tries what is deployed on a real system.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use testkit::programs;
use tokio::process::Command;

use crate::manifests::{Rendered, folder};
use crate::out;
use crate::program::run_in_workspace;

/// Tries the manifests on a real system.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(clap::Subcommand)]
enum Target {
    Kubernetes(KubernetesArgs),
}

/// Has an API server check the overlay `production`, all but running it: kinds, fields, and the profile of its pods. The
/// server must know the kinds of the operators that `deploy/kubernetes/README.md` lists. The namespace is made for real.
#[derive(clap::Args)]
struct KubernetesArgs {
    /// How to reach the cluster, and as whom.
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    match args.target {
        Target::Kubernetes(args) => kubernetes(&args).await,
    }
}

async fn kubernetes(args: &KubernetesArgs) -> Result<ExitCode> {
    let rendered = Rendered::all(&["production"]).await?;
    // Nothing can be tried in a namespace that is not there.
    out::step("the namespace");
    apply(args, &folder().join("base/namespace.yaml"), &[]).await?;
    out::step("production, as a dry run of the server");
    for file in rendered.files() {
        apply(args, &file, &["--dry-run=server"]).await?;
    }
    out::line("the API server accepts the overlay production");
    Ok(ExitCode::SUCCESS)
}

/// A warning counts as a refusal: so the server tells of pods that the namespace would not admit.
async fn apply(args: &KubernetesArgs, file: &Path, options: &[&str]) -> Result<()> {
    let kubectl = programs::on_path("kubectl").context("kubectl is not on the path")?;
    let mut command = Command::from(testkit::tool(kubectl));
    command.arg("--kubeconfig").arg(&args.kubeconfig);
    command.args(["apply", "--server-side", "--warnings-as-errors", "--filename"]).arg(file).args(options);
    run_in_workspace(command).await
}
