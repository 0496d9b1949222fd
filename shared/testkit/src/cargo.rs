//! Running cargo, and shells that may run it, from a program that cargo runs.

use tokio::process::Command;

use crate::env;

/// What cargo tells the program that it runs, about that program. A build script that looks at one of them (ring's
/// does) would be run again by each program's own cargo, and everything above it built anew.
const OURS: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// The cargo that runs us, else the one on `PATH`, with the environment of a shell.
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
