//! `env`: lets a shell talk to the system that `up` runs.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use testkit::client::Api;
use testkit::{Stack, state};

use crate::local::{ADMIN_EMAIL, ADMIN_PASSWORD, Local, OPERATORS_COMMAND};
use crate::{out, tools};

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
    let root = args.state.unwrap_or_else(state::base).join("up");
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
    out::line(format_args!("export PATH=\"{}:$PATH{}\"", value(PROGRAMS)?, tools::path_of_missing(&TOOLS)));
    for (name, value) in kept.iter().filter(|(name, _)| *name != PROGRAMS) {
        out::line(format_args!("export {name}='{value}'"));
    }
    out::line(format_args!("export TRISTORE_TOKEN='{}'", admin.access_token));
    Ok(ExitCode::SUCCESS)
}

/// Records the variables for [`run`], as a secret of the running system.
pub(crate) async fn keep(local: &Local) -> Result<()> {
    let Stack { services, databases, .. } = &local.stack;
    let programs = local.profile.binary(OPERATORS_COMMAND);
    let programs = programs.parent().context("a folder of programs")?.display().to_string();
    let urls = databases.urls_for_services().await?;
    let lines = [
        (PROGRAMS, programs),
        ("USER_URL", services.user.url()),
        ("ORDER_URL", services.order.url()),
        ("SESSION_URL", services.session.url()),
        ("MONGODB_URL", urls.mongodb),
        ("POSTGRES_URL", urls.postgres),
        ("REDIS_SESSION_URL", urls.redis_session),
        ("REDIS_CACHE_URL", urls.redis_cache),
        ("REDIS_EVENTS_URL", urls.redis_events),
    ];
    let lines = lines.map(|(name, value)| format!("{name}={value}\n")).concat();
    databases.state().keep_secret(ENVIRONMENT, &lines).map(drop)
}
