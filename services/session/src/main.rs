//! The binary of session service.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;
use mimalloc::MiMalloc;
use runtime::config::{masked, parse_from};
use session_service::{Action, Command, Config, DOMAIN, LISTEN, MigrateConfig, SessionService, migrate};

/// Takes a tenth off what a call costs, for 2 MiB more of memory.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let command: Command = parse_from(LISTEN, arguments()).unwrap_or_else(|error| error.exit());
    let result = match command.action {
        Action::Serve(config) => serve(*config),
        Action::Migrate(config) => run_migration(config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("session-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The arguments, with `serve` where no command is given.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let first = arguments.get(1).map(|argument| argument.to_string_lossy());
    let is_flag = first.is_none_or(|first| {
        first.starts_with('-') && !["-h", "--help", "-V", "--version"].contains(&&*first)
    });
    if is_flag {
        arguments.insert(1.min(arguments.len()), "serve".into());
    }
    arguments
}

fn serve(config: Config) -> anyhow::Result<()> {
    let (server, telemetry) = (config.server.clone(), config.telemetry.clone());
    let shown = masked(&config);
    let service = SessionService::new(config);
    runtime::server::run("session-service", server, telemetry, DOMAIN, move |core| {
        if core.is_first() {
            tracing::info!(config = shown, "starting");
        }
        service.clone().start(core)
    })
}

fn run_migration(config: MigrateConfig) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("making a runtime")?;
    runtime.block_on(async {
        let guard = runtime::telemetry::init("session-service", &config.telemetry)?;
        let result = migrate(config.redis).await;
        guard.flush().await;
        result
    })
}
