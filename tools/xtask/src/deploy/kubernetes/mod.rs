//! `deploy kubernetes`: has a cluster check the manifests, and runs them.

mod certificates;
mod cluster;
mod pairs;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::manifests::{Rendered, folder};
use crate::out;
use cluster::Cluster;

/// Has an API server check the overlay `production`, all but running it: kinds, fields, and the profile of its pods. The
/// server must know the kinds of the operators that `deploy/kubernetes/README.md` lists. The namespace is made for real.
#[derive(clap::Args)]
pub(super) struct Args {
    /// How to reach the cluster, and as whom.
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Instead runs the overlay `test` with new secrets and certificates, does the work of `demo` in it, and tries who may
    /// connect to whom. The nodes must have the images, or be able to pull them. Everything stays until the namespace is
    /// deleted.
    #[arg(long)]
    trial: bool,
    /// The databases of the trial are those of `deploy/stand-ins`.
    #[arg(long)]
    stand_ins: bool,
}

pub(super) async fn run(args: &Args) -> Result<ExitCode> {
    let cluster = Cluster::new(&args.kubeconfig)?;
    let rendered = Rendered::all(&["production", "test"]).await?;
    let [production, test] = &rendered.files()[..] else { unreachable!("a file for each overlay") };
    // Nothing can be tried in a namespace that is not there.
    out::step("the namespace");
    cluster.apply(&folder().join("base/namespace.yaml"), &[]).await?;
    if args.trial {
        trial::run(&cluster, production, test, args.stand_ins).await?;
        pairs::run(&cluster).await?;
    } else {
        out::step("production, as a dry run of the server");
        cluster.apply(production, &["--dry-run=server"]).await?;
        out::line("the API server accepts the overlay production");
    }
    Ok(ExitCode::SUCCESS)
}
