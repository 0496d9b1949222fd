//! `deploy kubernetes`: has a cluster check the manifests, and runs them.

mod certificates;
mod cluster;
mod entry;
mod load;
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
    /// The trial goes on with the clients of `deploy/grpc/clients`, each with so many calls a second: roll-outs, an eviction,
    /// more and fewer pods, and new certificates and passwords must cost no call. The nodes must have the image of the
    /// clients, too (`cargo xtask deploy images --clients`).
    #[arg(long, value_name = "RATE", num_args = 0..=1, default_missing_value = "25", requires = "trial",
        value_parser = clap::value_parser!(u32).range(1..))]
    load: Option<u32>,
    /// How often every service is restarted under load.
    #[arg(long, default_value_t = 1, requires = "load")]
    rounds: u32,
}

pub(super) async fn run(args: &Args) -> Result<ExitCode> {
    let cluster = Cluster::new(&args.kubeconfig)?;
    let rendered = Rendered::all(&["production", "test"]).await?;
    let [production, test] = &rendered.files()[..] else { unreachable!("a file for each overlay") };
    // Nothing can be tried in a namespace that is not there.
    out::step("the namespace");
    cluster.apply(&folder().join("base/namespace.yaml"), &[]).await?;
    if args.trial {
        let admin = trial::run(&cluster, production, test, args.stand_ins).await?;
        pairs::run(&cluster).await?;
        if let Some(rate) = args.load {
            let plan = load::Plan { rate, rounds: args.rounds };
            Box::pin(load::run(&cluster, production, &admin, plan)).await?;
        }
    } else {
        out::step("production, as a dry run of the server");
        cluster.apply(production, &["--dry-run=server"]).await?;
        out::line("the API server accepts the overlay production");
    }
    Ok(ExitCode::SUCCESS)
}
