//! What a process depends on, and whether it answers: its own database, the other services, the Redis for events. Without
//! some of it a process still serves, with less, and its operators must hear of that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::Bus;
use metrics::{Family, Gauge};

use crate::config::redact_url;
use crate::server::Core;

static UP: Family<Gauge, 1> = Family::new(
    "dependency_up",
    "Whether something that the process depends on answers: 1 or 0.",
    ["dependency"],
    8,
);

/// How often the Redis for events is asked.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// What the process depends on. Cheap to clone: one for all cores.
#[derive(Debug, Clone, Default)]
pub struct Dependencies(Arc<Mutex<BTreeMap<String, Dependency>>>);

#[derive(Debug)]
struct Dependency {
    up: Gauge,
    /// Why it cannot be relied on; `None` while it answers.
    trouble: Option<String>,
}

impl Dependencies {
    /// Whether the one with this name answers, or why not. A name is one of a few that are written in the code, such as
    /// `postgresql`, `event_redis` and `user-service`.
    pub fn report(&self, name: &str, outcome: Result<(), String>) {
        let trouble = outcome.err().map(|trouble| redact_url(&trouble));
        let mut all = self.lock();
        let new = || Dependency { up: UP.with([name]), trouble: None };
        let dependency = all.entry(name.to_owned()).or_insert_with(new);
        dependency.up.set_bool(trouble.is_none());
        dependency.trouble = trouble;
    }

    /// Those that do not answer, each with the reason, in a line.
    pub(crate) fn degraded(&self) -> Vec<String> {
        let line = |(name, one): (&String, &Dependency)| Some(format!("{name}: {}", one.trouble.as_ref()?));
        self.lock().iter().filter_map(line).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Dependency>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the Redis for events whether it answers, until the workers of the process are stopped. One core of a process does
/// this.
pub fn watch_event_bus(core: &Core, bus: Bus) {
    let (dependencies, stop) = (core.dependencies().clone(), core.workers_stop.clone());
    core.spawn("event-redis", async move {
        let watch = async {
            loop {
                let answer = bus.ping().await.map_err(|error| types::chain(&error));
                dependencies.report("event_redis", answer);
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        let _stopped = stop.run_until_cancelled(watch).await;
    });
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
        all.report("a-test", Ok(()));
        all.report("b-test", Err("redis://u:secret@host:1 refuses".to_owned()));
        let degraded = all.degraded().join("\n");
        assert!(degraded.starts_with("b-test: ") && !degraded.contains("secret"), "{degraded}");
        assert!(up("a-test", "1.0") && up("b-test", "0.0"), "{}", metrics::text());
        all.report("b-test", Ok(()));
        assert!(all.degraded().is_empty() && up("b-test", "1.0"));
    }
}
