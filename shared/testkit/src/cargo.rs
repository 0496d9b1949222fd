//! Running cargo, or a shell that may run it, from a program that cargo runs itself.

use tokio::process::Command;

use crate::env;

/// Prefixes of the variables by which cargo describes a program to itself. A build script that reads one of them, as
/// ring's does, would run again under each such program, and everything that depends on it would be built again.
const OURS: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// The cargo that runs us, or else the one on `PATH`, with the environment of a person's shell.
#[must_use]
pub fn cargo() -> Command {
    as_a_person_would(Command::new(env::path("CARGO").unwrap_or_else(|| "cargo".into())))
}

/// A POSIX shell with the environment that a person's shell has.
#[must_use]
pub fn shell() -> Command {
    as_a_person_would(Command::new("sh"))
}

fn as_a_person_would(mut command: Command) -> Command {
    for name in env::names() {
        if OURS.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}
