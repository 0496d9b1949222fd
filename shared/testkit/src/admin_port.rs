//! The admin port of a service, as probes and Prometheus ask it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Service;

/// What the admin port at an address answers: head and body.
///
/// # Errors
/// When nobody answers there.
pub async fn told(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The metrics of a process at one moment.
#[derive(Debug)]
pub struct Metrics {
    /// Each line without its value and exemplar, such as `serving` or `outbox_lease_held{stream="order"}`.
    series: BTreeMap<String, f64>,
    /// The text that they were read from.
    pub text: String,
}

impl Metrics {
    /// Those of a service now.
    ///
    /// # Errors
    /// When it does not answer, or not with metrics.
    pub async fn of(service: &Service) -> Result<Self> {
        Self::at(&service.admin_address()).await
    }

    /// Those of the process whose admin port is at this address.
    ///
    /// # Errors
    /// When it does not answer, or not with metrics.
    pub async fn at(address: &str) -> Result<Self> {
        let answer = told(address, "/metrics").await?;
        ensure!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let (head, text) = answer.split_once("\r\n\r\n").context("an answer has a head and a body")?;
        ensure!(head.to_lowercase().contains("content-type: application/openmetrics-text"), "{head}");
        ensure!(text.ends_with("# EOF\n"), "the text is cut off");
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let plain = line.split(" # ").next().unwrap_or_default();
            let (name, value) = plain.rsplit_once(' ').with_context(|| format!("no value: {line}"))?;
            let value = value.parse().with_context(|| format!("no number: {line}"))?;
            ensure!(series.insert(name.to_owned(), value).is_none(), "twice: {line}");
        }
        Ok(Self { series, text: text.to_owned() })
    }

    /// How many series there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.series.len()
    }

    /// The value of a series, by its name with all labels.
    #[must_use]
    pub fn get(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }

    /// The names with labels of all series of a family.
    #[must_use]
    pub fn family(&self, name: &str) -> Vec<&str> {
        let is_of = |series: &&str| {
            series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        self.series.keys().map(String::as_str).filter(is_of).collect()
    }

    /// The sum of all series of a family.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        self.family(name).iter().filter_map(|series| self.get(series)).sum()
    }
}
