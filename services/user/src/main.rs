//! The binary of user service.

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand};
use runtime::admin::{HealthConfig, health};
use runtime::binary::{self, block_on};
use runtime::config::masked;
use types::{SystemClock, SystemIds};
use user_service::config::{DoctorConfig, LISTEN, MongoConfig, PasswordConfig};
use user_service::doctor::doctor;
use user_service::{Bootstrapped, Config, Difference, NewAdmin, Recounted, UserService};

/// Users, posts and wallets, over gRPC.
#[derive(Debug, Parser)]
#[command(name = "user-service", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM; the default when no command is given.
    Serve(Box<Config>),
    /// Apply the missing migrations.
    Migrate(MongoConfig),
    /// Check that the database is and does what this service takes for granted. It writes to a scratch database only.
    Doctor(DoctorConfig),
    /// Ask the process on this machine whether it is ready, and exit; 1 if it is not.
    Health(HealthConfig),
    /// Give the stream a new epoch. Part of every restore, before the service starts.
    NewEpoch(MongoConfig),
    /// Compare what is counted of users and posts (followers, likes, posts of a user) with what is there, while the service
    /// runs, and exit; 1 if something differs. Views cannot be recounted, and comments are order service's.
    Recount(Recount),
    /// Make the first admin, with a password from standard input.
    BootstrapAdmin(BootstrapAdmin),
}

#[derive(Debug, Args)]
struct Recount {
    #[command(flatten)]
    mongo: MongoConfig,
    /// Make what differs what is there.
    #[arg(long)]
    mend: bool,
}

#[derive(Debug, Args)]
struct BootstrapAdmin {
    #[command(flatten)]
    mongo: MongoConfig,
    #[command(flatten)]
    passwords: PasswordConfig,
    /// The admin's e-mail address.
    #[arg(long)]
    email: String,
    /// The name to show.
    #[arg(long)]
    display_name: String,
    /// Read the password from the first line of standard input; there is no other way to give it.
    #[arg(long, required = true)]
    password_stdin: bool,
}

fn main() -> ExitCode {
    binary::run(LISTEN, |cli: Cli| match cli.command {
        Command::Serve(config) => serve(*config),
        Command::Migrate(mongo) => migrate(&mongo),
        Command::Doctor(config) => block_on(doctor(&config)),
        Command::Health(config) => block_on(health(&config)),
        Command::NewEpoch(mongo) => new_epoch(&mongo),
        Command::Recount(recount) => self::recount(&recount),
        Command::BootstrapAdmin(admin) => bootstrap_admin(admin),
    })
}

fn serve(config: Config) -> anyhow::Result<()> {
    let (server, telemetry) = (config.server.clone(), config.telemetry.clone());
    let effective = masked(&config);
    let service = UserService::new(config, Arc::new(SystemClock), Arc::new(SystemIds))?;
    runtime::server::run("user-service", server, telemetry, UserService::domain(), move |core| {
        if core.is_first() {
            tracing::info!(config = effective, "starting");
        }
        service.clone().start(core)
    })
}

fn migrate(mongo: &MongoConfig) -> anyhow::Result<()> {
    let applied = block_on(user_service::migrate(mongo))?;
    let mut out = std::io::stdout().lock();
    for migration in &applied {
        writeln!(out, "applied {}", migration.name)?;
        for index in &migration.lacking {
            writeln!(out, "  without the index {index}, which this server cannot build")?;
        }
    }
    if applied.is_empty() {
        writeln!(out, "nothing to apply")?;
    }
    Ok(())
}

fn new_epoch(mongo: &MongoConfig) -> anyhow::Result<()> {
    let epoch = block_on(user_service::new_epoch(mongo))?;
    writeln!(std::io::stdout().lock(), "the stream has epoch {epoch} now")?;
    Ok(())
}

fn recount(recount: &Recount) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut printed = Ok(());
    let tell = |difference: &Difference| {
        if printed.is_ok() {
            printed = writeln!(out, "{difference}");
        }
    };
    let Recounted { users, posts, differences } =
        block_on(user_service::recount(&recount.mongo, recount.mend, tell))?;
    printed?;
    let mended = if recount.mend { "mended" } else { "found" };
    writeln!(out, "{users} users, {posts} posts, {differences} differences {mended}")?;
    ensure!(recount.mend || differences == 0, "what is counted is not what is there; --mend makes it so");
    Ok(())
}

fn bootstrap_admin(admin: BootstrapAdmin) -> anyhow::Result<()> {
    ensure!(admin.password_stdin, "--password-stdin is the only way to give the password");
    let mut password = String::new();
    std::io::stdin().lock().read_line(&mut password).context("reading the password")?;
    let admin_to_be = NewAdmin {
        email: admin.email,
        display_name: admin.display_name,
        password: password.trim_end_matches(['\r', '\n']).to_owned().into(),
    };
    let done = block_on(user_service::bootstrap_admin(&admin.mongo, admin.passwords, admin_to_be))?;
    let mut out = std::io::stdout().lock();
    match done {
        Bootstrapped::Created(id) => writeln!(out, "created admin {id}")?,
        Bootstrapped::AlreadyAdmin(id) => writeln!(out, "{id} is an admin already; nothing was changed")?,
    }
    Ok(())
}
