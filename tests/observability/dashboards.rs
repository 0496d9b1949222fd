//! What a dashboard must have to be read by somebody who has never seen it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::files::{Files, list, text};
use crate::promql::Query;

/// How the histograms begin that have no exemplars: databases', which are on the way of every call. A call's trace has what it
/// asks of them as spans.
const WITHOUT_TRACES: &str = "rate(db_client_";

/// The alerts that a panel is about: its description ends with `Alert: A, B.`.
fn alerts_of(panel: &Value) -> Vec<&str> {
    let named = text(&panel["description"]).rsplit_once(" Alert: ").map(|(_, names)| names);
    named.map_or(Vec::new(), |names| names.trim_end_matches('.').split(", ").collect())
}

pub(crate) fn unlike_alerts(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    let mut shown = BTreeSet::new();
    for (board, json) in &files.dashboards {
        for panel in Files::panels(json) {
            let title = text(&panel["title"]);
            let names = alerts_of(panel);
            let mut limits = Vec::new();
            for name in &names {
                match files.alerts().find(|(alert, _)| alert == name) {
                    Some((_, rule)) => limits.extend(Query::parse(&rule.expr).unwrap_or_default().limits),
                    None => found.push(format!("{board}.json, {title}: no alert is called {name}")),
                }
            }
            // Counts of what must not be there begin with 1: the alert is on more than 0, or on what is missing.
            if limits.is_empty() {
                limits.push(0.0);
            }
            let limits = limits.into_iter().map(|limit| if limit == 0.0 { 1.0 } else { limit });
            let steps = list(&panel["fieldConfig"]["defaults"]["thresholds"]["steps"]);
            let steps: Vec<f64> = steps.iter().filter_map(|step| step["value"].as_f64()).collect();
            let is_limit = |limit: &f64| steps.iter().any(|step| (step - limit).abs() < 1e-9);
            if !steps.is_empty() && !names.is_empty() && !limits.clone().any(|limit| is_limit(&limit)) {
                let limits: Vec<f64> = limits.collect();
                found.push(format!("{board}.json, {title}: its steps {steps:?} have none of {limits:?}"));
            }
            shown.extend(names);
        }
    }
    let missing = files.alerts().filter(|(name, _)| *name != "Watchdog" && !shown.contains(name));
    found.extend(missing.map(|(name, _)| format!("{name} is on no dashboard")));
    found
}

pub(crate) fn particular(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for (name, board) in &files.dashboards {
        for key in ["id", "version", "iteration", "gnetId", "__inputs"] {
            if !board[key].is_null() {
                found.push(format!("{name}.json has the key {key}"));
            }
        }
        if board["uid"] != format!("tristore-{name}") {
            found.push(format!("{name}.json has the uid {}", board["uid"]));
        }
        let ids = list(&board["panels"]).iter().map(|panel| panel["id"].as_u64().unwrap_or_default());
        if !ids.eq(1..=list(&board["panels"]).len() as u64) {
            found.push(format!("the panels of {name}.json are not numbered from 1"));
        }
        let source = json!({"type": "prometheus", "uid": "${datasource}"});
        for panel in Files::panels(board).filter(|panel| panel["datasource"] != source) {
            let title = text(&panel["title"]);
            found.push(format!("{name}.json, {title}: its data source is not the variable"));
        }
    }
    found
}

pub(crate) fn without_variables(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for (name, board) in &files.dashboards {
        let variables: Vec<&str> =
            list(&board["templating"]["list"]).iter().map(|variable| text(&variable["name"])).collect();
        if variables != ["datasource", "job", "instance"] {
            found.push(format!("{name}.json has the variables {variables:?}"));
        }
    }
    found
}

pub(crate) fn unexplained(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for (name, board) in &files.dashboards {
        for panel in Files::panels(board) {
            let (title, targets) = (text(&panel["title"]), list(&panel["targets"]));
            let mut lacks = |is_there: bool, what: &str| {
                if !is_there {
                    found.push(format!("{name}.json, {title}: {what}"));
                }
            };
            lacks(!title.is_empty(), "no title");
            lacks(text(&panel["description"]).ends_with('.'), "no description");
            lacks(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "no unit");
            lacks(targets.iter().all(|target| !text(&target["expr"]).is_empty()), "a target without a query");
            lacks(!targets.is_empty(), "nothing to show");
            let leads = |target: &Value| {
                let query = text(&target["expr"]);
                let is_of_buckets = query.contains("_bucket{") && !query.contains(WITHOUT_TRACES);
                is_of_buckets == (target["exemplar"] == true)
            };
            lacks(targets.iter().all(leads), "no way to the traces, or to traces that are not there");
        }
    }
    found
}
