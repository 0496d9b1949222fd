//! The text of all metrics.

use std::collections::HashMap;
use std::fmt;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text as open_metrics};
use prometheus_client::registry::Registry;

use crate::metric::{AnyFamily, Exemplified};

/// The type of [`text`] in HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The families that have a series.
static FAMILIES: Mutex<Vec<&'static dyn AnyFamily>> = Mutex::new(Vec::new());

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families));
    registry
});

fn families() -> MutexGuard<'static, Vec<&'static dyn AnyFamily>> {
    FAMILIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells of a family from now on.
///
/// # Panics
/// When another family has its name: Prometheus takes no text with a name twice.
pub(crate) fn register(family: &'static dyn AnyFamily) {
    let mut families = families();
    match families.binary_search_by_key(&family.name(), |one| one.name()) {
        Ok(at) => {
            let same = std::ptr::addr_eq(std::ptr::from_ref(families[at]), std::ptr::from_ref(family));
            assert!(same, "two families of metrics are called {}", family.name());
        }
        Err(at) => families.insert(at, family),
    }
}

/// The most series that this process may have, with the families that it has told of so far.
#[must_use]
pub fn series_most() -> usize {
    families().iter().map(|family| family.lines_most()).sum()
}

/// All metrics of the process, in the text format of OpenMetrics 1.0.
#[must_use]
pub fn text() -> String {
    let mut text = String::new();
    open_metrics::encode(&mut text, &REGISTRY).expect("writing to a string never fails");
    let exemplars: HashMap<String, String> = families()
        .iter()
        .flat_map(|family| family.exemplars())
        .map(|Exemplified { line, exemplar }| (line, exemplar))
        .collect();
    if exemplars.is_empty() { text } else { exemplified(&text, &exemplars) }
}

/// Adds the exemplars to their lines. prometheus-client writes those of its own histograms, one lock for all cores, and
/// lets nobody else make any.
fn exemplified(text: &str, exemplars: &HashMap<String, String>) -> String {
    let mut result = String::with_capacity(text.len() + exemplars.len() * 80);
    for line in text.lines() {
        result.push_str(line);
        let begin = line.rfind(' ').and_then(|blank| line.get(..=blank));
        if let Some(exemplar) = begin.and_then(|begin| exemplars.get(begin)) {
            result.push_str(exemplar);
        }
        result.push('\n');
    }
    result
}

/// All families, as prometheus-client asks for them.
#[derive(Debug)]
struct Families;

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families = families().clone();
        families.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}
