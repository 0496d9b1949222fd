//! Every query that dashboards, rules and pages have, asked of a Prometheus that has watched a system at work.

mod empty;
mod work;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testkit::{AlertState, DatabaseOptions, Port, Sample, ServiceName, ServiceOptions, wait_until};

use self::work::Work;
use super::watched::{Options, Watched, has_programs};
use crate::asked::Asked;
use crate::files::Files;

/// Prometheus asks each second, and the books are audited every few seconds.
const WITHIN: Duration = Duration::from_secs(60);

/// Claim: where nothing is wrong, every query of a dashboard, of a page or of what is recorded has data, unless it is about a
/// fault; what is shown of it names labels that it has; and every histogram with a way to traces has exemplars. What an alert
/// looks at is there, and none but the watchdog fires.
#[tokio::test]
async fn every_query_has_data_of_a_real_scrape() -> Result<()> {
    if !has_programs("every_query_has_data_of_a_real_scrape") {
        return Ok(());
    }
    let files = Files::read();
    let shown = [Asked::by_dashboards(&files), Asked::by_pages(&files)].concat();
    let all = [shown.clone(), Asked::by_rules(&files)].concat();
    let unknown = empty::not_asked(&all);
    ensure!(unknown.is_empty(), "nobody asks what is listed as without data: {unknown:#?}");
    let watched = Box::pin(Watched::start(options(&files)?)).await?;
    let work = Work::prepare(&watched).await?;

    // What has had data need not have it for ever: that a process was started is shown for a minute.
    let mut open: BTreeSet<Claim> = shown.iter().flat_map(Claim::of_shown).collect();
    open.extend(all.iter().flat_map(Claim::of_selectors));
    wait_until(WITHIN, "every query to have data", async || {
        let text = |error: anyhow::Error| format!("{error:#}");
        work.once(&watched).await.map_err(text)?;
        let mut still = BTreeSet::new();
        for claim in std::mem::take(&mut open) {
            if !claim.is_true(&watched).await.map_err(text)? {
                still.insert(claim);
            }
        }
        open = still;
        if open.is_empty() { Ok(()) } else { Err(format!("{open:#?}")) }
    })
    .await?;
    rules_are_computed(&watched).await?;
    let contradicted = contradicted(&watched).await?;
    ensure!(contradicted.is_empty(), "listed as without data, but have some:\n{contradicted}");
    Ok(())
}

/// What must be so of a query.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// Where it is asked, for who reads that it is not so.
    place: String,
    query: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Data,
    /// Each result has it.
    Label(String),
    Exemplars,
}

impl Claim {
    fn of_shown(asked: &Asked) -> Vec<Self> {
        let query = asked.plain();
        let claim = |what| Self { place: asked.place.clone(), query: query.clone(), what };
        if empty::is_excused(&query) {
            return Vec::new();
        }
        let labels = asked.labels.iter().map(|label| What::Label(label.clone()));
        let exemplars = asked.exemplars.then_some(What::Exemplars);
        labels.chain(exemplars).chain([What::Data]).map(claim).collect()
    }

    fn of_selectors(asked: &Asked) -> Vec<Self> {
        let selectors = empty::selectors(&asked.plain()).into_iter();
        selectors.map(|query| Self { place: asked.place.clone(), query, what: What::Data }).collect()
    }

    async fn is_true(&self, watched: &Watched) -> Result<bool> {
        let Self { place, query, what } = self;
        let told = watched.prometheus.query(query).await.with_context(|| place.clone())?;
        Ok(match what {
            What::Data => has_data(&told),
            What::Label(label) => {
                !told.is_empty() && told.iter().all(|sample| sample.labels.contains_key(label))
            }
            What::Exemplars => {
                let now = watched.prometheus.now().await?;
                !watched.prometheus.exemplars(query, (now - 3_600.0, now + 1.0)).await?.is_empty()
            }
        })
    }
}

fn options(files: &Files) -> Result<Options> {
    let nobody = format!("http://127.0.0.1:{}", Port::Free.choose()?);
    let often = (ServiceName::Order, "AUDIT_EVERY".to_owned(), "2s".to_owned());
    Ok(Options {
        rules: files.rules_text.clone(),
        // Spans are counted where a collector is set, whether or not it is there.
        settings: vec![("OTEL_EXPORTER_OTLP_ENDPOINT", nobody), ("TRACE_RATIO", "1".to_owned())],
        databases: DatabaseOptions::default(),
        services: ServiceOptions { env: vec![often], ..ServiceOptions::default() },
    })
}

fn has_data(told: &[Sample]) -> bool {
    told.iter().any(|sample| !sample.value.is_nan())
}

/// What has data although it is listed as without.
async fn contradicted(watched: &Watched) -> Result<String> {
    let mut found = String::new();
    for (query, why) in empty::without_data() {
        let told = watched.prometheus.query(&query).await?;
        if has_data(&told) {
            writeln!(found, "{query} ({why}): {told:?}")?;
        }
    }
    Ok(found)
}

async fn rules_are_computed(watched: &Watched) -> Result<()> {
    let rules = watched.prometheus.rules().await?;
    let broken: Vec<_> = rules.iter().filter(|rule| rule.health != "ok").collect();
    ensure!(broken.is_empty() && !rules.is_empty(), "{broken:#?}");
    let alerts = watched.prometheus.alerts().await?;
    // On a busy machine some calls are slow, though not for ten minutes.
    let firing = alerts.iter().filter(|alert| alert.state == AlertState::Firing);
    let firing: BTreeSet<&str> = firing.map(|alert| &*alert.labels["alertname"]).collect();
    ensure!(firing == BTreeSet::from(["Watchdog"]), "alerts without a fault: {alerts:#?}");
    Ok(())
}
