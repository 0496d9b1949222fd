//! What Prometheus answers to queries.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::Prometheus;

/// The value of a series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels, among them `__name__` where the query leaves it.
    pub labels: BTreeMap<String, String>,
    /// NaN where nothing was there to divide by.
    pub value: f64,
}

/// The values of a series over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970, and the value then.
    pub points: Vec<(f64, f64)>,
}

/// A call that stands for others in a histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// The labels of its series.
    pub series: BTreeMap<String, String>,
    /// Its trace, 32 hexadecimal digits.
    pub trace_id: String,
    /// What was measured, such as seconds.
    pub value: f64,
    /// When, in seconds since 1970.
    pub time: f64,
}

/// How far an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Its cause is there, and not for long enough.
    Pending,
    /// It is told to whom it concerns.
    Firing,
}

/// An alert that is on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Alert {
    /// What it is about, and `alertname`.
    pub labels: BTreeMap<String, String>,
    /// What it says.
    pub annotations: BTreeMap<String, String>,
    /// How far it is.
    pub state: AlertState,
}

/// Whether a rule could be computed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleHealth {
    /// The name of the alert, or of what it records.
    pub name: String,
    /// `ok`, `err`, or `unknown` before it was computed.
    pub health: String,
    /// Why it could not be computed; empty when it could.
    #[serde(default)]
    pub last_error: String,
}

#[derive(Deserialize)]
struct Found {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Prometheus {
    /// What a query answers now: the samples of a vector, or one without labels for a number.
    ///
    /// # Errors
    /// When Prometheus refuses the query.
    pub async fn query(&self, query: &str) -> Result<Vec<Sample>> {
        let data = self.ask("/api/v1/query", &[("query", query)]).await?;
        if data["resultType"] == "scalar" {
            let (_, value): (f64, String) = serde_json::from_value(data["result"].clone())?;
            return Ok(vec![Sample { labels: BTreeMap::new(), value: number(&value)? }]);
        }
        let found: Vec<Found> = serde_json::from_value(data["result"].clone()).context("a vector")?;
        let sample = |found: Found| {
            let (_, value) = found.value.context("a sample has a value")?;
            Ok(Sample { labels: found.metric, value: number(&value)? })
        };
        found.into_iter().map(sample).collect()
    }

    /// Its time, in seconds since 1970.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub async fn now(&self) -> Result<f64> {
        let told = self.query("time()").await?;
        told.first().map(|sample| sample.value).context("a time")
    }

    /// What a query answers from one time to another, in seconds since 1970, each `step` seconds.
    ///
    /// # Errors
    /// When Prometheus refuses the query.
    pub async fn query_range(&self, query: &str, (start, end): (f64, f64), step: f64) -> Result<Vec<Series>> {
        let [start, end, step] = [start, end, step].map(|seconds| seconds.to_string());
        let parameters = [("query", query), ("start", &*start), ("end", &*end), ("step", &*step)];
        let data = self.ask("/api/v1/query_range", &parameters).await?;
        let found: Vec<Found> = serde_json::from_value(data["result"].clone()).context("a matrix")?;
        let series = |found: Found| {
            let points = found.values.iter().map(|(time, value)| Ok((*time, number(value)?)));
            Ok(Series { points: points.collect::<Result<_>>()?, labels: found.metric })
        };
        found.into_iter().map(series).collect()
    }

    /// The exemplars of the histograms in a query, from one time to another, in seconds since 1970.
    ///
    /// # Errors
    /// When Prometheus refuses the query.
    pub async fn exemplars(&self, query: &str, (start, end): (f64, f64)) -> Result<Vec<Exemplar>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct OfSeries {
            series_labels: BTreeMap<String, String>,
            exemplars: Vec<Told>,
        }
        #[derive(Deserialize)]
        struct Told {
            labels: BTreeMap<String, String>,
            value: String,
            timestamp: f64,
        }
        let [start, end] = [start, end].map(|seconds| seconds.to_string());
        let parameters = [("query", query), ("start", &*start), ("end", &*end)];
        let data = self.ask("/api/v1/query_exemplars", &parameters).await?;
        let found: Vec<OfSeries> = serde_json::from_value(data).context("a list of exemplars")?;
        let mut exemplars = Vec::new();
        for OfSeries { series_labels, exemplars: told } in found {
            for Told { labels, value, timestamp } in told {
                exemplars.push(Exemplar {
                    series: series_labels.clone(),
                    trace_id: labels.get("trace_id").cloned().context("an exemplar names a trace")?,
                    value: number(&value)?,
                    time: timestamp,
                });
            }
        }
        Ok(exemplars)
    }

    /// The alerts that are on.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub async fn alerts(&self) -> Result<Vec<Alert>> {
        let data = self.ask("/api/v1/alerts", &[]).await?;
        serde_json::from_value(data["alerts"].clone()).context("a list of alerts")
    }

    /// Whether each rule could be computed.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub async fn rules(&self) -> Result<Vec<RuleHealth>> {
        #[derive(Deserialize)]
        struct Group {
            rules: Vec<RuleHealth>,
        }
        let data = self.ask("/api/v1/rules", &[]).await?;
        let groups: Vec<Group> = serde_json::from_value(data["groups"].clone()).context("groups of rules")?;
        Ok(groups.into_iter().flat_map(|group| group.rules).collect())
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let mut answer = self.admin().json(path, parameters).await?;
        ensure!(answer["status"] == "success", "{answer}");
        Ok(answer["data"].take())
    }
}

/// Also `NaN`, `+Inf` and `-Inf`.
fn number(text: &str) -> Result<f64> {
    text.parse().with_context(|| format!("no number: {text}"))
}
