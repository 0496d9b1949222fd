//! `tools`: installs the programs that the other commands use, once, into the cache folder or by apt.

mod apt;
mod cached;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use testkit::{programs, quote};

use crate::doctor;
use crate::out;

pub(crate) use cached::python_has;

/// Installs the databases and the tools for checks and calls by hand, unless they are installed already.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only what `up` and `test` need: PostgreSQL, PgBouncer, Redis and MongoDB.
    #[arg(long)]
    only_servers: bool,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    ensure_servers().await?;
    if args.only_servers {
        return Ok(ExitCode::SUCCESS);
    }
    // Each tool is useful without the others, so the rest go on when one cannot be installed.
    let mut failed = false;
    for (name, install) in cached::ALL {
        if let Err(error) = install().with_context(|| format!("installing {name}")) {
            failed = true;
            out::line(format_args!("    {error:#}"));
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Installs the servers that are missing; prints nothing when none is.
pub(crate) async fn ensure_servers() -> Result<()> {
    let missing: Vec<&str> = doctor::servers()
        .iter()
        .filter(|finding| finding.found.is_err())
        .map(|finding| finding.name)
        .collect();
    let mut packages = Vec::new();
    if missing.iter().any(|&name| name == "PostgreSQL" || name == "psql") {
        packages.extend(["postgresql", "postgresql-client"]);
    }
    if missing.contains(&"PgBouncer") {
        packages.push("pgbouncer");
    }
    if missing.contains(&"Redis") {
        packages.push("redis-server");
    }
    // Not when there is one that cannot be used: it would be preferred all the same.
    let needs_mongo = programs::mongo_server().is_err();
    if needs_mongo {
        packages.extend(apt::missing_for_build());
    }
    apt::install(&packages)?;
    if needs_mongo {
        cached::secantus()?;
    }
    if let Some(still) = doctor::servers().into_iter().find(|finding| finding.found.is_err()) {
        let error = still.found.err().unwrap_or_else(|| anyhow::anyhow!("missing"));
        return Err(error).with_context(|| format!("{} is still not usable", still.name));
    }
    Ok(())
}

/// The folders of those tools that are not on a shell's `PATH`, as words of a shell, `:folder` each; empty when all are
/// on it.
pub(crate) fn path_of_missing(names: &[&str]) -> String {
    let missing = names.iter().filter(|name| programs::on_path(name).is_none());
    let found = missing.filter_map(|name| by_hand(name));
    let mut folders: Vec<_> = found.filter_map(|path| Some(path.parent()?.to_path_buf())).collect();
    folders.dedup();
    folders.iter().map(|folder| format!(":{}", quote::shell(&folder.to_string_lossy()))).collect()
}

/// Where a tool is that people call by hand.
pub(crate) fn by_hand(name: &str) -> Option<PathBuf> {
    match name {
        "psql" => programs::psql().ok(),
        name => programs::tool(name),
    }
}

/// Runs an installer; its own output is the progress.
fn run_installer(command: &mut Command) -> Result<()> {
    let name = Path::new(command.get_program()).display().to_string();
    let status = command.status().with_context(|| format!("running {name}"))?;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
}

fn needs(program: &str, package: &'static str) -> Result<()> {
    if programs::on_path(program).is_none() {
        apt::install(&[package])?;
        if programs::on_path(program).is_none() {
            bail!("{program} is missing although {package} is installed");
        }
    }
    Ok(())
}
