//! `env`: lets a shell talk to the system that `up` runs.

use std::fs;
use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use testkit::client::Api;
use testkit::{Stack, quote, state};

use crate::local::{ADMIN_EMAIL, ADMIN_PASSWORD, Local, OPERATORS_COMMAND};
use crate::tools;

/// The secret with the variables, one on each line.
const ENVIRONMENT: &str = "environment";
/// The line with the folder of the services' programs, which is not a variable for the shell.
const PROGRAMS: &str = "PROGRAMS";
/// The tools that people call by hand.
const TOOLS: [&str; 4] = ["grpcurl", "buf", "mongosh", "psql"];

/// Prints variables for a shell that talks to the system that `up` runs: eval "$(cargo xtask env)".
///
/// They are the addresses of services and databases, an admin's access token in `TRISTORE_TOKEN` (valid for 15
/// minutes), and a PATH with the services, the operator's command and the tools of `cargo xtask tools`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The state folder given to `up`.
    #[arg(long, value_name = "DIR", env = "TRISTORE_STATE")]
    state: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let root = state::root(&args.state.unwrap_or_else(state::base), "up")?;
    ensure!(state::owner(&root).is_some(), "nothing runs in {}: run `cargo xtask up`", root.display());
    let secret = |name: &str| {
        let path = state::secret_path(&root, name);
        fs::read_to_string(&path).with_context(|| format!("reading {}: is `up` ready?", path.display()))
    };
    let kept = secret(ENVIRONMENT)?;
    let kept: Vec<(&str, &str)> = kept.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |name: &str| {
        let found = kept.iter().find(|(kept, _)| *kept == name);
        found.map(|(_, value)| *value).with_context(|| format!("`up` has not recorded {name}"))
    };
    let api = Api::new(value("USER_URL")?, value("ORDER_URL")?, value("SESSION_URL")?)?;
    let admin = api.log_in(ADMIN_EMAIL, &secret(ADMIN_PASSWORD)?).await.context("logging the admin in")?;
    let mut lines = led_astray(&testkit::env::names());
    let programs = quote::shell(value(PROGRAMS)?);
    lines.push(format!("export PATH={programs}:\"$PATH\"{}", tools::path_of_missing(&TOOLS)));
    let token = [("TRISTORE_TOKEN", &*admin.access_token)];
    let variables = kept.into_iter().filter(|(name, _)| *name != PROGRAMS).chain(token);
    lines.extend(variables.map(|(name, value)| format!("export {name}={}", quote::shell(value))));
    // Whoever evaluates a part of it would have half an environment.
    writeln!(stdout(), "{}", lines.join("\n")).context("printing the variables")?;
    Ok(ExitCode::SUCCESS)
}

/// What a shell with these variables must change, so that programs that are called by hand find the local servers:
/// libpq's variables lead psql to another server, and proxies know nothing of this machine's ports.
fn led_astray(names: &[String]) -> Vec<String> {
    let is_set = |wanted: &str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    let mut lines: Vec<String> =
        names.iter().filter(|name| name.starts_with("PG")).map(|name| format!("unset {name}")).collect();
    lines.sort();
    if ["http_proxy", "https_proxy", "all_proxy", "grpc_proxy"].into_iter().any(is_set) {
        for name in ["no_proxy", "NO_PROXY"] {
            lines.push(format!("export {name}=localhost,127.0.0.1${{{name}:+,${name}}}"));
        }
    }
    lines
}

/// Records the variables for [`run`], as a secret of the running system.
pub(crate) async fn keep(local: &Local) -> Result<()> {
    let Stack { services, databases, .. } = &local.stack;
    let programs = local.profile.binary(OPERATORS_COMMAND)?;
    let programs = programs.parent().and_then(Path::to_str).context("a folder of programs")?.to_owned();
    let urls = databases.urls_for_services().await?;
    let lines = [
        (PROGRAMS, programs),
        ("USER_URL", services.user.url()),
        ("ORDER_URL", services.order.url()),
        ("SESSION_URL", services.session.url()),
        ("MONGODB_URL", urls.mongodb),
        ("MONGODB_MIGRATE_URL", urls.mongodb_migrate),
        ("MONGODB_READER_URL", urls.mongodb_reader),
        ("MONGODB_ADMIN_URL", urls.mongodb_admin),
        ("POSTGRES_URL", urls.postgres),
        ("REDIS_SESSION_URL", urls.redis_session),
        ("REDIS_CACHE_URL", urls.redis_cache),
        ("REDIS_EVENTS_URL", urls.redis_events),
    ];
    let lines = lines.map(|(name, value)| format!("{name}={value}\n")).concat();
    databases.state().keep_secret(ENVIRONMENT, &lines).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_that_is_set_up_for_other_servers_is_told_what_to_change() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert!(led_astray(&names(&["PATH", "POSTGRES_URL", "no_proxy"])).is_empty());
        assert_eq!(
            led_astray(&names(&["PGSSLMODE", "HTTPS_PROXY", "PGHOST"])),
            [
                "unset PGHOST",
                "unset PGSSLMODE",
                "export no_proxy=localhost,127.0.0.1${no_proxy:+,$no_proxy}",
                "export NO_PROXY=localhost,127.0.0.1${NO_PROXY:+,$NO_PROXY}",
            ]
        );
    }
}
