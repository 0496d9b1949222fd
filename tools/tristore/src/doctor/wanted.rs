//! The checks of `tristore doctor`, by name, and what each must find.

use std::time::Duration;

use runtime::doctor::{Line, Seen};

/// A check. It has a line for each thing that it is done on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check {
    name: &'static str,
    wanted: &'static str,
}

impl Check {
    const fn new(name: &'static str, wanted: &'static str) -> Self {
        Self { name, wanted }
    }

    /// Its line about something of a service.
    pub(super) fn line(&self, service: &'static str, seen: &Seen, took: Duration) -> Line {
        seen.line(service, self.name, self.wanted, took)
    }
}

pub(super) const REACHED: Check =
    Check::new("service.reached", "an answer to us, of the service that is meant");
pub(super) const VERSION: Check = Check::new("service.version", "the same version as the others");
pub(super) const DATABASE_CLOCK: Check =
    Check::new("service.database_clock", "the database's clock at most 1 s away from the service's");
pub(super) const IDENTITY: Check = Check::new("peer.identity", "the service that is meant");
pub(super) const TOKEN: Check = Check::new("peer.token", "the peer knows the service by its token");
pub(super) const PEER_VERSION: Check = Check::new("peer.version", "the same version as the service");
pub(super) const CLOCK: Check =
    Check::new("peer.clock", "the peer's clock at most 1 s away from the service's");
pub(super) const HEAD: Check = Check::new("stream.head", "a head with an epoch");
pub(super) const RUNNING: Check = Check::new("consumer.running", "not halted");
pub(super) const EPOCH: Check = Check::new("consumer.epoch", "the epoch of its stream");
pub(super) const LAG: Check = Check::new("consumer.lag", "within 5 s, everything that its stream has now");
pub(super) const PARKED: Check = Check::new("consumer.parked", "no parked events");

/// All of them, for the README.
#[cfg(test)]
const ALL: [Check; 12] = [
    REACHED,
    VERSION,
    DATABASE_CLOCK,
    IDENTITY,
    TOKEN,
    PEER_VERSION,
    CLOCK,
    HEAD,
    RUNNING,
    EPOCH,
    LAG,
    PARKED,
];

#[cfg(test)]
mod tests {
    use testkit::Reference;

    use super::*;

    #[test]
    fn the_readme_has_the_table_of_checks() {
        let row = |check: &Check| format!("| `{}` | {} |\n", check.name, check.wanted);
        let rows: String = ALL.iter().map(row).collect();
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let table = format!("| check | what must be found |\n| --- | --- |\n{rows}");
        Reference::new(readme, "checks").check(&table).unwrap();
    }
}
