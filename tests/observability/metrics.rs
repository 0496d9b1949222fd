//! Which metrics queries use, and which there are.

use std::collections::BTreeMap;

use crate::files::{Files, list, text};
use crate::promql::Query;

/// What Prometheus makes of a histogram.
const OF_HISTOGRAM: [&str; 3] = ["_bucket", "_count", "_sum"];

/// Every query, and where it is.
fn queries(files: &Files) -> Vec<(String, String)> {
    let name = |rule: &crate::files::Rule| rule.alert.clone().or(rule.record.clone()).unwrap_or_default();
    let mut all: Vec<(String, String)> =
        files.rules.iter().map(|rule| (format!("rules.yml, {}", name(rule)), rule.expr.clone())).collect();
    for (board, json) in &files.dashboards {
        for panel in Files::panels(json) {
            let place = format!("{board}.json, {}", text(&panel["title"]));
            let targets = list(&panel["targets"]).iter();
            all.extend(targets.map(|target| (place.clone(), text(&target["expr"]).to_owned())));
        }
        for annotation in list(&json["annotations"]["list"]) {
            let query = text(&annotation["target"]["expr"]).to_owned();
            all.push((format!("{board}.json, {}", text(&annotation["name"])), query));
        }
        for variable in list(&json["templating"]["list"]) {
            let query = text(&variable["query"]["query"]);
            if let Some(selector) = query.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(','))
            {
                all.push((format!("{board}.json, ${}", text(&variable["name"])), selector.0.to_owned()));
            }
        }
    }
    for (page, markdown) in &files.runbooks {
        all.extend(fenced(markdown, "promql").map(|query| (format!("{page}.md"), query)));
    }
    all
}

/// The fenced blocks of a language.
pub(crate) fn fenced<'a>(markdown: &'a str, language: &'a str) -> impl Iterator<Item = String> + 'a {
    let blocks = markdown.split("\n```").skip(1).step_by(2);
    blocks.filter_map(move |block| {
        let (first, rest) = block.split_once('\n')?;
        (first.trim() == language).then(|| rest.to_owned())
    })
}

/// The names and types in the tables of `metrics.md`.
fn documented(files: &Files) -> BTreeMap<&str, &str> {
    let rows = files.metrics.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.filter_map(|(name, rest)| Some((name, rest.split(" |").next()?))).collect()
}

pub(crate) fn unreadable(files: &Files) -> Vec<String> {
    let broken = |(place, query): (String, String)| {
        let error = Query::parse(&query).err()?;
        Some(format!("{place}: {error}"))
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
    for (place, query) in queries(files) {
        let metrics = Query::parse(&query).unwrap_or_default().metrics;
        let unknown = metrics.into_iter().filter(|name| !is_known(name));
        found.extend(unknown.map(|name| format!("{place}: {name}")));
    }
    found
}
