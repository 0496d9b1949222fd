//! The files in `deploy/observability`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use testkit::state::workspace;

/// All of them. Maps are by the name of the file, without its ending.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) rules: Vec<Rule>,
    /// `rules.yml`.
    pub(crate) rules_text: String,
    pub(crate) tests: Vec<AlertTest>,
    pub(crate) dashboards: BTreeMap<String, Value>,
    pub(crate) runbooks: BTreeMap<String, String>,
    /// `metrics.md`.
    pub(crate) metrics: String,
    /// `otel-collector.yaml`.
    pub(crate) collector: String,
    /// The source files of the services.
    pub(crate) sources: String,
}

/// A rule of Prometheus, which records or alerts.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rule {
    pub(crate) record: Option<String>,
    pub(crate) alert: Option<String>,
    pub(crate) expr: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Which alerts are expected at a time of a test.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AlertTest {
    pub(crate) alertname: String,
    pub(crate) exp_alerts: Vec<Value>,
}

#[derive(Deserialize)]
struct RulesFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct TestsFile {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    #[serde(default)]
    alert_rule_test: Vec<AlertTest>,
}

impl Files {
    /// As they are.
    pub(crate) fn read() -> Self {
        let folder = workspace().join("deploy/observability");
        let text = |name: &str| read(&folder.join(name));
        let rules_text = text("rules.yml");
        let rules: RulesFile = serde_saphyr::from_str(&rules_text).expect("rules.yml is one of rules");
        let tests = ["rules_test.yml", "rules_hours_test.yml"].into_iter().flat_map(|name| {
            let file: TestsFile = serde_saphyr::from_str(&text(name)).expect("a file of tests");
            file.tests
        });
        let dashboards = all_in(&folder.join("dashboards"), ".json");
        let json = |(name, text): (String, String)| {
            let board = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}.json: {error}"));
            (name, board)
        };
        let mut sources = String::new();
        for service in ["user", "order", "session"] {
            add_sources(&workspace().join("services").join(service).join("src"), &mut sources);
        }
        Self {
            rules_text,
            rules: rules.groups.into_iter().flat_map(|group| group.rules).collect(),
            tests: tests.flat_map(|test| test.alert_rule_test).collect(),
            dashboards: dashboards.into_iter().map(json).collect(),
            runbooks: all_in(&folder.join("runbooks"), ".md"),
            metrics: text("metrics.md"),
            collector: text("otel-collector.yaml"),
            sources,
        }
    }

    /// The rules that alert, by their names.
    pub(crate) fn alerts(&self) -> impl Iterator<Item = (&str, &Rule)> {
        self.rules.iter().filter_map(|rule| Some((rule.alert.as_deref()?, rule)))
    }

    /// The panels of a dashboard that show something: no rows.
    pub(crate) fn panels(board: &Value) -> impl Iterator<Item = &Value> {
        list(&board["panels"]).iter().filter(|panel| panel["type"] != "row")
    }
}

/// The items of a list; none when it is something else.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text; empty when it is something else.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn all_in(folder: &Path, ending: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = entries.filter_map(|entry| {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name()?.to_str()?.strip_suffix(ending)?.to_owned();
        Some((name, read(&path)))
    });
    files.collect()
}

fn add_sources(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "doctor") {
            add_sources(&path, sources);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            sources.push_str(&read(&path));
        }
    }
}
