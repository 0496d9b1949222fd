//! What a process depends on, and whether it answers: its own database, the other services, the Redis for events. Without
//! some of it a process still serves, with less, and its operators must hear of that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Family, Gauge};

use crate::config::redact_url;

static UP: Family<Gauge, 1> = Family::new(
    "dependency_up",
    "Whether something that the process depends on answers: 1 or 0.",
    ["dependency"],
    8,
);

/// What the process depends on. Cheap to clone: one for all cores.
#[derive(Debug, Clone, Default)]
pub struct Dependencies(Arc<Mutex<BTreeMap<String, Dependency>>>);

#[derive(Debug)]
struct Dependency {
    up: Gauge,
    /// Why it cannot be relied on, by the number of the core that says so.
    trouble: BTreeMap<usize, String>,
}

impl Dependencies {
    /// Whether the one with this name answers a core, or why not; it answers when it answers all. A name is one of a few
    /// that are written in the code, such as `postgresql`, `event_redis` and `user-service`.
    pub fn report(&self, name: &str, core: usize, outcome: Result<(), String>) {
        let mut all = self.lock();
        let new = || Dependency { up: UP.with([name]), trouble: BTreeMap::new() };
        let dependency = all.entry(name.to_owned()).or_insert_with(new);
        match outcome {
            Ok(()) => dependency.trouble.remove(&core),
            Err(trouble) => dependency.trouble.insert(core, redact_url(&trouble)),
        };
        dependency.up.set_bool(dependency.trouble.is_empty());
    }

    /// Those that do not answer, each with the reason, in a line.
    pub(crate) fn degraded(&self) -> Vec<String> {
        let line =
            |(name, one): (&String, &Dependency)| Some(format!("{name}: {}", one.trouble.values().next()?));
        self.lock().iter().filter_map(line).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Dependency>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_in_trouble_until_it_answers_again() {
        let all = Dependencies::default();
        let up = |name: &str, value: &str| {
            metrics::text().contains(&format!("dependency_up{{dependency=\"{name}\"}} {value}\n"))
        };
        all.report("a-test", 0, Ok(()));
        all.report("b-test", 1, Err("redis://u:secret@host:1 refuses".to_owned()));
        let degraded = all.degraded().join("\n");
        assert!(degraded.starts_with("b-test: ") && !degraded.contains("secret"), "{degraded}");
        assert!(up("a-test", "1.0") && up("b-test", "0.0"), "{}", metrics::text());
        all.report("b-test", 0, Ok(()));
        assert!(up("b-test", "0.0"), "another core cannot reach it");
        all.report("b-test", 1, Ok(()));
        assert!(all.degraded().is_empty() && up("b-test", "1.0"));
    }
}
