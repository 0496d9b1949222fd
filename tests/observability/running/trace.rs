//! The way from a point in a plot to what happened: an exemplar, and its trace in Jaeger.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testkit::{
    DatabaseOptions, Exemplar, Jaeger, Lifetime, ServiceOptions, State, TracedSpan, state, wait_until,
};
use tests::people::{Market, PRICE, pay};

use super::watched::{Options, Watched, has_programs};
use crate::files::Files;

const WITHIN: Duration = Duration::from_secs(60);
/// When nothing of a trace has come for so long, nothing more comes.
const QUIET: Duration = Duration::from_secs(2);
const PAY: &str = "order.v1.TransferService/PayOrder";
/// The services that apply events of a payment, whose events, and how often at least: user service reserves, confirms and
/// counts, order service decides and ends.
const APPLIED: [(&str, &str, usize); 2] =
    [("user-service", "process order", 3), ("order-service", "process user", 2)];

/// Claim: Prometheus has an exemplar of a payment's call, and it leads to a trace in Jaeger that begins with that call, has
/// every step of the payment in both services, and no span without its parent. Prints both.
#[tokio::test]
#[ignore = "needs Jaeger: `cargo xtask observe trace`"]
async fn an_exemplar_leads_to_the_trace_of_a_payment() -> Result<()> {
    if !has_programs("an_exemplar_leads_to_the_trace_of_a_payment") {
        return Ok(());
    }
    let files = Files::read();
    let folder = Arc::new(State::for_run(&state::base()).await?);
    let jaeger = Jaeger::start(&folder, Lifetime::WithParent).await?;
    let settings = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", jaeger.otlp_url()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
        ("TRACE_RATIO", "1".to_owned()),
    ];
    let options = Options {
        rules: files.rules_text,
        settings,
        databases: DatabaseOptions::default(),
        services: ServiceOptions::default(),
    };
    let watched = Box::pin(Watched::start(options)).await?;
    let market = Market::open(&watched.system, 100 * PRICE, 100).await?;
    // The first ones open connections.
    for _ in 0..10 {
        market.paid_order(1).await?;
    }
    // A consumer applies what has come together: a payment shares no step with others when nothing else is on its way.
    let order = market.order(1).await?;
    watched.system.at_rest().await?;
    let since = watched.prometheus.now().await?;
    market.buyer.caller.transfers().pay_order(pay(&order)).await.context("PayOrder")?;
    let query = format!("rpc_server_call_duration_seconds_bucket{{rpc_method=\"{PAY}\"}}");
    let exemplar = wait_until(WITHIN, "an exemplar", async || {
        let latest = latest(&watched, &query, since).await.map_err(|error| format!("{error:#}"))?;
        latest.ok_or_else(|| "there is none".to_owned())
    })
    .await?;
    let mut last: Option<(Vec<TracedSpan>, Instant)> = None;
    let spans = wait_until(WITHIN, "the whole trace", async || {
        let spans = jaeger.trace(&exemplar.trace_id).await.map_err(|error| format!("{error:#}"))?;
        let since = match &last {
            Some((seen, since)) if *seen == spans => *since,
            _ => Instant::now(),
        };
        last = Some((spans.clone(), since));
        // Each service sends its spans when it likes to.
        if is_whole(&spans) && since.elapsed() > QUIET { Ok(spans) } else { Err(format!("{spans:#?}")) }
    })
    .await?;
    eprintln!("{query}");
    eprintln!("    # {{trace_id=\"{}\"}} {:.1} ms\n", exemplar.trace_id, exemplar.value * 1e3);
    eprint!("{}", tree(&spans)?);
    Ok(())
}

async fn latest(watched: &Watched, query: &str, since: f64) -> Result<Option<Exemplar>> {
    let now = watched.prometheus.now().await?;
    let all = watched.prometheus.exemplars(query, (since, now + 1.0)).await?;
    Ok(all.into_iter().max_by(|one, other| one.time.total_cmp(&other.time)))
}

fn is_whole(spans: &[TracedSpan]) -> bool {
    let is_known = |parent: &String| spans.iter().any(|span| span.id == *parent);
    let roots = spans.iter().filter(|span| span.parent.is_none());
    let is_applied = |(service, name, times): (&str, &str, usize)| {
        spans.iter().filter(|span| span.service == service && span.name == name).count() >= times
    };
    roots.map(|root| &*root.name).eq([PAY])
        && spans.iter().all(|span| span.parent.as_ref().is_none_or(is_known))
        && APPLIED.into_iter().all(is_applied)
}

/// When each span began after the first, how long it took, whose it is, and under what.
fn tree(spans: &[TracedSpan]) -> Result<String> {
    let root = spans.iter().find(|span| span.parent.is_none()).context("a trace has a first span")?;
    let mut text = format!("{:>9} {:>9}  span\n", "began", "took");
    let mut shown = 0;
    branch(spans, root, root.began, 0, &mut text, &mut shown)?;
    ensure!(shown == spans.len(), "{shown} of {} spans are in the tree", spans.len());
    Ok(text)
}

fn branch(
    spans: &[TracedSpan],
    span: &TracedSpan,
    beginning: u64,
    depth: usize,
    text: &mut String,
    shown: &mut usize,
) -> Result<()> {
    let began = span.began.saturating_sub(beginning) as f64 / 1e3;
    let took = span.took as f64 / 1e3;
    let indent = "  ".repeat(depth);
    writeln!(text, "{began:>6.1} ms {took:>6.1} ms  {indent}{} {}", span.service, span.name)?;
    *shown += 1;
    for child in spans.iter().filter(|child| child.parent.as_ref() == Some(&span.id)) {
        branch(spans, child, beginning, depth + 1, text, shown)?;
    }
    Ok(())
}
