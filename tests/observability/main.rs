//! What `deploy/observability` promises: alerts and dashboards use metrics that there are, each alert has a page that says
//! what to do, and dashboards can be read by whoever has never seen them.
//!
//! A rule is a function that lists what breaks it. One test applies all of them to the files, and another spoils a file for
//! each of them and sees that it is caught. Whether Prometheus accepts the files and fires when it should is a matter of its
//! own tools: `cargo xtask check`. What a real Prometheus has to say of a running system is in `running/`.

mod alerts;
mod asked;
mod dashboards;
mod files;
mod metrics;
mod names;
mod promql;
mod running;
mod spoiled;

use files::Files;

/// What lists how the files break it.
type Rule = fn(&Files) -> Vec<String>;

const RULES: [(&str, Rule); 11] = [
    ("queries are PromQL", metrics::unreadable),
    ("every metric that is used is in metrics.md", metrics::unknown),
    ("an alert says how bad it is and what it is about", alerts::untold),
    ("every alert has a page, and every page its alert", alerts::without_page),
    ("every alert is tested both ways", alerts::untested),
    ("every alert is on a dashboard, with its limit", dashboards::unlike_alerts),
    ("a dashboard is of no particular Grafana", dashboards::particular),
    ("a dashboard can be narrowed down", dashboards::without_variables),
    ("a panel says what it shows, and in which unit", dashboards::unexplained),
    ("methods, services and consumers have their right names", names::wrong),
    ("no stream or password is held to be slow", names::wrongly_timed),
];

#[test]
fn the_files_keep_the_rules() {
    let files = Files::read();
    let found: Vec<String> = RULES
        .iter()
        .flat_map(|(rule, broken)| broken(&files).into_iter().map(move |what| format!("{rule}: {what}")))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
