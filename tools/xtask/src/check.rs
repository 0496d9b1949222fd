//! `check`: everything that must hold before a change is merged and needs no database.

mod containers;
mod observability;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testkit::programs;

use crate::program::{revision, run_in_workspace, tool};
use crate::{manifests, out, service_config};

/// Checks format, lints, documentation, protocol files, unused dependencies, the layers, the service config, the Dockerfile,
/// the file for docker compose, the manifests for Kubernetes, and alerts and dashboards. All checks run, even when one fails.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(Args {}: Args) -> Result<ExitCode> {
    let mut results: Vec<(&str, Duration, Result<()>)> = Vec::new();
    for name in [
        "fmt",
        "clippy",
        "docs",
        "buf lint",
        "buf format",
        "buf breaking",
        "machete",
        "layers",
        "service config",
        "hadolint",
        "compose",
        "kubernetes",
        "manifests",
        "checkov",
        "observability",
        "promtool",
    ] {
        out::step(name);
        let started = Instant::now();
        let result = step(name).await;
        if let Err(error) = &result {
            out::line(format_args!("    {error:#}"));
        }
        results.push((name, started.elapsed(), result));
    }
    out::line("");
    for (name, took, result) in &results {
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        out::line(format_args!("{name:<14} {verdict:<7} {:>6.1} s", took.as_secs_f64()));
    }
    let failed = results.iter().any(|(.., result)| result.is_err());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn step(name: &str) -> Result<()> {
    match name {
        "fmt" => cargo(&["fmt", "--all", "--check"]).await,
        "clippy" => cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).await,
        "docs" => cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]).await,
        "service config" => service_config::check(),
        "layers" => cargo(&["test", "--quiet", "-p", "tests", "--test", "layers"]).await,
        "hadolint" => containers::lint().await,
        "compose" => containers::compose().await,
        // That services read their settings needs their binaries: `cargo xtask test` builds those.
        "kubernetes" => {
            let skipped = ["--skip", "services_read_their_settings"];
            cargo(&[&["test", "--quiet", "-p", "tests", "--test", "kubernetes", "--"][..], &skipped].concat())
                .await
        }
        "manifests" => manifests::validate().await,
        "checkov" => manifests::scan().await,
        // A running system needs databases and binaries: `cargo xtask test` has them.
        "observability" => {
            let skipped = ["--skip", "running::"];
            cargo(
                &[&["test", "--quiet", "-p", "tests", "--test", "observability", "--"][..], &skipped]
                    .concat(),
            )
            .await
        }
        "promtool" => observability::check().await,
        "buf lint" => buf(&["lint", "proto"]).await,
        "buf format" => buf(&["format", "proto", "--diff", "--exit-code"]).await,
        "buf breaking" => buf_breaking().await,
        "machete" => {
            // It runs cargo, so it gets cargo's environment.
            let machete = programs::tool("cargo-machete")
                .context("cargo-machete is missing: run `cargo xtask tools`")?;
            run_in_workspace(testkit::task(machete).into()).await
        }
        other => bail!("no check is called {other}"),
    }
}

async fn cargo(args: &[&str]) -> Result<()> {
    let mut command = testkit::cargo();
    command.args(args).env("RUSTDOCFLAGS", "-D warnings");
    run_in_workspace(command.into()).await
}

async fn buf(args: &[&str]) -> Result<()> {
    let mut command = tool("buf")?;
    command.args(args);
    run_in_workspace(command).await
}

/// Compares with the published protocol: that of `origin/main` on a branch, that of the previous commit on main.
async fn buf_breaking() -> Result<()> {
    let head = revision("HEAD").await;
    let published = revision("origin/main").await.filter(|main| Some(main) != head.as_ref());
    let against = match published {
        Some(main) => Some(main),
        None => revision("HEAD~1").await,
    };
    let Some(against) = against else {
        out::line("    nothing to compare with: this is the first commit");
        return Ok(());
    };
    if revision(&format!("{against}:proto")).await.is_none() {
        out::line("    nothing to compare with: there was no proto folder");
        return Ok(());
    }
    buf(&["breaking", "proto", "--against", &format!(".git#ref={against},subdir=proto")]).await
}
