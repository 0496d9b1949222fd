//! Which metrics queries use, and which there are.

use std::collections::BTreeMap;

use crate::asked::Asked;
use crate::files::Files;
use crate::promql::Query;

/// What Prometheus makes of a histogram.
const OF_HISTOGRAM: [&str; 3] = ["_bucket", "_count", "_sum"];

fn queries(files: &Files) -> Vec<Asked> {
    [Asked::by_rules(files), Asked::by_dashboards(files), Asked::by_pages(files)].concat()
}

/// The names and types in the tables of `metrics.md`.
fn documented(files: &Files) -> BTreeMap<&str, &str> {
    let rows = files.metrics.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.filter_map(|(name, rest)| Some((name, rest.split(" |").next()?))).collect()
}

pub(crate) fn unreadable(files: &Files) -> Vec<String> {
    let broken = |asked: Asked| {
        let error = Query::parse(&asked.plain()).err()?;
        Some(format!("{}: {error}", asked.place))
    };
    queries(files).into_iter().filter_map(broken).collect()
}

pub(crate) fn unknown(files: &Files) -> Vec<String> {
    let documented = documented(files);
    let is_known = |name: &str| {
        let recorded = files.rules.iter().any(|rule| rule.record.as_deref() == Some(name));
        let of_histogram = || {
            let base = OF_HISTOGRAM.iter().find_map(|ending| name.strip_suffix(ending));
            base.is_some_and(|base| documented.get(base) == Some(&"histogram"))
        };
        // A histogram itself is no series.
        recorded || documented.get(name).is_some_and(|kind| *kind != "histogram") || of_histogram()
    };
    let mut found = Vec::new();
    for asked in queries(files) {
        let (place, metrics) = (&asked.place, Query::parse(&asked.plain()).unwrap_or_default().metrics);
        let unknown = metrics.into_iter().filter(|name| !is_known(name));
        found.extend(unknown.map(|name| format!("{place}: {name}")));
    }
    found
}
