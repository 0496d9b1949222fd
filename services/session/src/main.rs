//! The binary of session service.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use runtime::admin::health;
use runtime::binary::{self, block_on};
use runtime::config::masked;
use session_service::{
    Action, Command, Config, DOMAIN, LISTEN, MigrateConfig, SessionService, doctor, migrate,
};

/// Makes a call a tenth cheaper, and takes 2 MiB more of memory.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    binary::run(LISTEN, |command: Command| match command.action {
        Action::Serve(config) => serve(*config),
        Action::Migrate(config) => run_migration(config),
        Action::Doctor(config) => block_on(doctor(&config)),
        Action::Health(config) => block_on(health(&config)),
    })
}

fn serve(config: Config) -> anyhow::Result<()> {
    let (server, telemetry) = (config.server.clone(), config.telemetry.clone());
    let shown = masked(&config);
    let service = SessionService::new(config)?;
    runtime::server::run("session-service", server, telemetry, DOMAIN, move |core| {
        if core.is_first() {
            tracing::info!(config = shown, "starting");
        }
        service.clone().start(core)
    })
}

fn run_migration(config: MigrateConfig) -> anyhow::Result<()> {
    block_on(async {
        let guard = runtime::telemetry::init("session-service", &config.telemetry)?;
        let result = migrate(config.redis).await;
        guard.flush().await;
        result
    })
}
