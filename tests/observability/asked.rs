//! What the files ask Prometheus.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::files::{Files, list, text};

/// What stands for Grafana's own variables in a query that Prometheus is to answer: the shortest span that Grafana takes
/// with the scrapes of `prometheus.yml`, and everything.
const STAND_INS: [(&str, &str); 3] = [("$__rate_interval", "1m"), ("$job", ".*"), ("$instance", ".*")];

/// A query, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The file, and the panel or rule in it.
    pub(crate) place: String,
    /// As it stands there.
    pub(crate) query: String,
    /// The labels that what is shown takes from the answer.
    pub(crate) labels: BTreeSet<String>,
    /// Whether exemplars are shown too.
    pub(crate) exemplars: bool,
}

impl Asked {
    fn new(place: String, query: &str) -> Self {
        Self { place, query: query.to_owned(), labels: BTreeSet::new(), exemplars: false }
    }

    /// Without Grafana's variables.
    pub(crate) fn plain(&self) -> String {
        let query = self.query.trim().to_owned();
        STAND_INS.iter().fold(query, |query, (variable, stand_in)| query.replace(variable, stand_in))
    }

    /// Those of rules.
    pub(crate) fn by_rules(files: &Files) -> Vec<Self> {
        let name = |rule: &crate::files::Rule| rule.alert.clone().or(rule.record.clone()).unwrap_or_default();
        let rules = files.rules.iter();
        rules.map(|rule| Self::new(format!("rules.yml, {}", name(rule)), &rule.expr)).collect()
    }

    /// Those of dashboards: panels, annotations, and what variables are filled from.
    pub(crate) fn by_dashboards(files: &Files) -> Vec<Self> {
        files.dashboards.iter().flat_map(|(name, board)| Self::by_dashboard(name, board)).collect()
    }

    fn by_dashboard(name: &str, board: &Value) -> Vec<Self> {
        let mut all = Vec::new();
        for panel in Files::panels(board) {
            for target in list(&panel["targets"]) {
                let mut asked =
                    Self::new(format!("{name}.json, {}", text(&panel["title"])), text(&target["expr"]));
                asked.labels = of_legend(text(&target["legendFormat"]));
                asked.exemplars = target["exemplar"] == true;
                all.push(asked);
            }
        }
        for annotation in list(&board["annotations"]["list"]) {
            let place = format!("{name}.json, {}", text(&annotation["name"]));
            let mut asked = Self::new(place, text(&annotation["target"]["expr"]));
            asked.labels = of_legend(text(&annotation["target"]["legendFormat"]));
            all.push(asked);
        }
        for variable in list(&board["templating"]["list"]) {
            let query = text(&variable["query"]["query"]);
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            if let Some((selector, label)) = inner.and_then(|inner| inner.rsplit_once(',')) {
                let mut asked = Self::new(format!("{name}.json, ${}", text(&variable["name"])), selector);
                asked.labels = BTreeSet::from([label.trim().to_owned()]);
                all.push(asked);
            }
        }
        all
    }

    /// Those of pages for alerts.
    pub(crate) fn by_pages(files: &Files) -> Vec<Self> {
        let pages = files.runbooks.iter();
        let queries = pages.flat_map(|(page, markdown)| {
            fenced(markdown, "promql").map(move |query| Self::new(format!("{page}.md"), &query))
        });
        queries.collect()
    }
}

/// From `{{job}} {{instance}}`.
fn of_legend(legend: &str) -> BTreeSet<String> {
    let named = legend.split("{{").skip(1);
    named.filter_map(|rest| Some(rest.split_once("}}")?.0.trim().to_owned())).collect()
}

/// The fenced blocks of a language.
fn fenced<'a>(markdown: &'a str, language: &'a str) -> impl Iterator<Item = String> + 'a {
    let blocks = markdown.split("\n```").skip(1).step_by(2);
    blocks.filter_map(move |block| {
        let (first, rest) = block.split_once('\n')?;
        (first.trim() == language).then(|| rest.to_owned())
    })
}
