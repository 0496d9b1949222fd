//! `doctor`: shows which programs this machine has, which are missing, and how to install those.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use testkit::programs::{self, MongoProgram, POSTGRES_AT_LEAST, REDIS_AT_LEAST};
use time::{Date, Duration};
use types::{CURRENCIES_AMENDMENT, CURRENCIES_AS_OF, Clock as _, SystemClock};

use crate::{out, tools};

/// Amendments come about once a year, months before they take effect.
const CURRENCIES_OLD_AFTER: Duration = Duration::days(365);

/// Shows what is found and what is missing. Fails when something is missing that `up`, `check` or a test needs.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// One program that was looked for.
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    /// Whether `up`, `check` or a test needs it.
    pub(crate) needed: bool,
    /// What was found, or why nothing was.
    pub(crate) found: Result<String>,
    /// How to install it.
    pub(crate) hint: &'static str,
}

pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    let mut broken = false;
    for Finding { name, needed, found, hint } in findings() {
        match found {
            Ok(what) => out::line(format_args!("ok       {name:<16} {what}")),
            Err(error) => {
                broken |= needed;
                let verdict = if needed { "MISSING" } else { "optional" };
                out::line(format_args!("{verdict:<8} {name:<16} {error:#}; {hint}"));
            }
        }
    }
    out::line(currencies(SystemClock.now().date()));
    out::line(format_args!("state    {:<16} {}", "folder", testkit::state::base().display()));
    out::line(format_args!("cache    {:<16} {}", "folder", programs::cache_folder()?.display()));
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How old the table of currencies is. An old one breaks nothing: a currency that is missing is refused.
fn currencies(today: Date) -> String {
    let what = format!("ISO 4217 of {CURRENCIES_AS_OF}, amendment {CURRENCIES_AMENDMENT}");
    if today - CURRENCIES_AS_OF <= CURRENCIES_OLD_AFTER {
        format!("ok       {:<16} {what}", "currencies")
    } else {
        let how = "see whether there are newer amendments: `shared/types/src/currencies.rs` says where";
        format!("old      {:<16} {what}; {how}", "currencies")
    }
}

/// Looks for everything. This is quick: it runs each program once, for its version.
pub(crate) fn findings() -> Vec<Finding> {
    let mut all = servers();
    let util_linux = "apt-get install util-linux";
    all.push(Finding {
        name: "setpriv",
        needed: true,
        found: on_path("setpriv", "--version"),
        hint: util_linux,
    });
    all.push(Finding {
        name: "cargo",
        needed: true,
        found: on_path("cargo", "--version"),
        hint: "https://rustup.rs",
    });
    all.push(Finding {
        name: "git",
        needed: false,
        found: on_path("git", "--version"),
        hint: "apt-get install git",
    });
    for (name, what_for) in [
        ("grpcurl", "tests and calls by hand: `cargo xtask tools`"),
        ("buf", "tests and `cargo xtask check`: `cargo xtask tools`"),
        ("cargo-machete", "`cargo xtask check`: `cargo xtask tools`"),
        ("promtool", "`cargo xtask check`: `cargo xtask tools`"),
        ("amtool", "`cargo xtask check`: `cargo xtask tools`"),
        ("prometheus", "tests: `cargo xtask tools`"),
        ("prometheus-postgres-exporter", "tests: `cargo xtask tools`"),
        ("prometheus-redis-exporter", "tests: `cargo xtask tools`"),
        ("mongosh", "tests and queries by hand: `cargo xtask tools`"),
    ] {
        all.push(Finding { name, needed: true, found: by_hand(name), hint: what_for });
    }
    let checks = "`cargo xtask check`: `cargo xtask tools`";
    let kustomize =
        programs::tool("kustomize").context("not found").and_then(|path| version(&path, "version"));
    all.push(Finding { name: "kustomize", needed: true, found: kustomize, hint: checks });
    for name in ["kubernetes-validate", "checkov"] {
        all.push(Finding { name, needed: true, found: by_hand(name), hint: checks });
    }
    all.push(Finding {
        name: "python grpc",
        needed: true,
        found: tools::python_has("grpc, grpc_reflection, google.protobuf")
            .map(|()| "grpcio, grpcio-reflection and protobuf".to_owned()),
        hint: "tests and scripts by hand: `cargo xtask tools`",
    });
    all
}

/// The servers that `up` and `test` need.
pub(crate) fn servers() -> Vec<Finding> {
    let hint = "`cargo xtask tools` installs it";
    let finding = |name, found| Finding { name, needed: true, found, hint };
    vec![
        finding("PostgreSQL", postgres()),
        finding("psql", by_hand("psql")),
        finding("PgBouncer", programs::pgbouncer().and_then(|path| version(&path, "--version"))),
        finding("Redis", redis()),
        finding("MongoDB", mongo()),
    ]
}

/// A tool that people call by hand.
pub(crate) fn by_hand(name: &str) -> Result<String> {
    version(&tools::by_hand(name).context("not found")?, "--version")
}

fn postgres() -> Result<String> {
    at_least(version(&programs::postgres_bin()?.join("postgres"), "--version")?, POSTGRES_AT_LEAST)
}

fn redis() -> Result<String> {
    at_least(version(&programs::redis_server()?, "--version")?, REDIS_AT_LEAST)
}

fn mongo() -> Result<String> {
    match programs::mongo_server()? {
        MongoProgram::Mongod(path) => {
            programs::mongod_version(&path)?;
            version(&path, "--version")
        }
        MongoProgram::Secantus(path) => {
            let passed_over =
                programs::on_path("mongod").and_then(|path| programs::mongod_version(&path).err());
            let why = passed_over.map_or_else(String::new, |error| format!("; {error:#}"));
            Ok(format!("{} (a stand-in: no text indexes{why})", version(&path, "--version")?))
        }
    }
}

fn on_path(name: &str, flag: &str) -> Result<String> {
    version(&programs::on_path(name).context("not found")?, flag)
}

/// The first line that a program prints for `flag`, on standard output or standard error.
fn version(program: &std::path::Path, flag: &str) -> Result<String> {
    let output = testkit::tool(program)
        .arg(flag)
        .output()
        .with_context(|| format!("running {}", program.display()))?;
    ensure!(output.status.success(), "{} {flag} ends with {}", program.display(), output.status);
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned();
    Ok(format!("{line} ({})", program.display()))
}

/// Fails when the first number in a version line is too low.
fn at_least(line: String, wanted: u32) -> Result<String> {
    let is_digit = |c: char| c.is_ascii_digit();
    let digits: String = line.chars().skip_while(|c| !is_digit(*c)).take_while(|c| is_digit(*c)).collect();
    let major: u32 = digits.parse().with_context(|| format!("no version in {line}"))?;
    ensure!(major >= wanted, "{line} is older than {wanted}");
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_version_is_refused() {
        assert!(at_least("postgres (PostgreSQL) 15.18 (Debian 15.18-0)".to_owned(), 15).is_ok());
        assert!(
            at_least("Redis server v=6.0.16 sha=0:0".to_owned(), 7)
                .unwrap_err()
                .to_string()
                .contains("older than 7")
        );
        assert!(at_least("what".to_owned(), 7).is_err());
    }
}
