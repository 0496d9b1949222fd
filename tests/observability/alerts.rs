//! What an alert says, and what says what to do about it.

use std::collections::BTreeSet;

use crate::files::Files;

/// What a page tells of its alert, in this order.
const CHAPTERS: [&str; 5] = [
    "## What it means",
    "## How to look",
    "## What to do",
    "## When to call whom",
    "## How to know that it is over",
];

pub(crate) fn untold(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for (name, rule) in files.alerts() {
        let severity = rule.labels.get("severity").map_or("", String::as_str);
        if !["critical", "warning", "none"].contains(&severity) {
            found.push(format!("{name} has the severity {severity:?}"));
        }
        for annotation in ["summary", "description"] {
            if rule.annotations.get(annotation).is_none_or(|text| !text.ends_with('.')) {
                found.push(format!("the {annotation} of {name} is no sentence"));
            }
        }
    }
    found
}

pub(crate) fn without_page(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for (name, rule) in files.alerts() {
        let url = format!("{{{{ $externalLabels.runbooks }}}}/{name}.md");
        if rule.annotations.get("runbook_url") != Some(&url) {
            found.push(format!("{name} does not lead to {url}"));
        }
        let Some(page) = files.runbooks.get(name) else {
            found.push(format!("{name} has no page"));
            continue;
        };
        let headings: Vec<&str> = page.lines().filter(|line| line.starts_with('#')).collect();
        if headings.first() != Some(&&*format!("# {name}")) || headings[1..] != CHAPTERS {
            found.push(format!("{name}.md has the headings {headings:?}"));
        }
    }
    let names: BTreeSet<&str> = files.alerts().map(|(name, _)| name).collect();
    let pages = files.runbooks.keys().filter(|page| !names.contains(&***page));
    found.extend(pages.map(|page| format!("{page}.md is of no alert")));
    found
}

pub(crate) fn untested(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for (name, _) in files.alerts() {
        let mut tests = files.tests.iter().filter(|test| test.alertname == name).peekable();
        // The one that always fires is never silent.
        let fires = tests.clone().any(|test| !test.exp_alerts.is_empty());
        let is_silent = name == "Watchdog" || tests.any(|test| test.exp_alerts.is_empty());
        if !(fires && is_silent) {
            found.push(format!("{name}: fires in a test: {fires}, is silent in one: {is_silent}"));
        }
    }
    found
}
