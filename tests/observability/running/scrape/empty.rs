//! What has no data where nothing is wrong, each with its reason. A test fails when some of it has data, or is asked by nobody.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::VectorSelector;

use crate::asked::Asked;
use crate::promql::Query;

/// Metrics of programs that do not run here. `*` stands for what follows.
const ABSENT: [(&str, &str); 6] = [
    ("cnpg_*", "CloudNativePG's, which is in Kubernetes only"),
    ("mongodb_*", "Debian's exporter is of 2018, and has other names than Percona's"),
    ("pg_replication_lag_seconds", "Debian's exporter is 0.11; the name is since 0.15"),
    ("pg_replication_last_replay_seconds", "since 0.18"),
    ("redis_connected_slave_lag_seconds", "of a Redis with a replica"),
    ("redis_master_link_up", "of a replica"),
];

/// Queries that show a fault, and are empty without one.
const OF_FAULTS: [(&str, &str); 7] = [
    (r#"ALERTS{alertstate="firing", alertname!="Watchdog"}"#, "no alert fires"),
    (r#"max by (consumer, state) (consumer_state{state=~"halted|rewound"}) == 1"#, "no consumer is halted"),
    ("dependency_up == 0", "everything answers"),
    ("serving == 0", "every process serves"),
    ("up == 0", "every target answers"),
    (
        r#"sum by (instance) (rate(rpc_server_call_duration_seconds_count{rpc_response_status_code=~"UNKNOWN|INTERNAL|UNAVAILABLE|DEADLINE_EXCEEDED|DATA_LOSS"}[30m]))"#,
        "no call has failed by our fault, and a code has no series before its first call",
    ),
    (
        r#"sum by (rpc_method, rpc_response_status_code) (rate(rpc_server_call_duration_seconds_count{rpc_response_status_code=~"UNKNOWN|INTERNAL|UNAVAILABLE|DEADLINE_EXCEEDED|DATA_LOSS"}[5m]))"#,
        "as above",
    ),
];

/// Labels whose values are born with what they tell of. That the metric has such a label is all that can be seen without it.
const BORN_WITH_FAULT: [&str; 4] = ["rpc_response_status_code", "alertstate", "alertname", "severity"];

fn is_absent(metric: &str) -> bool {
    let is_it = |listed: &str| match listed.strip_suffix('*') {
        Some(start) => metric.starts_with(start),
        None => metric == listed,
    };
    ABSENT.iter().any(|(listed, _)| is_it(listed))
}

/// Whether a query must have data.
pub(super) fn is_excused(query: &str) -> bool {
    let metrics = Query::parse(query).unwrap_or_default().metrics;
    OF_FAULTS.iter().any(|(listed, _)| *listed == query) || metrics.iter().any(|metric| is_absent(metric))
}

/// What a query picks its series by, each of which must pick some.
pub(super) fn selectors(query: &str) -> Vec<String> {
    let selectors = Query::parse(query).unwrap_or_default().selectors.into_iter();
    let here = selectors.filter(|selector| selector.name.as_deref().is_none_or(|name| !is_absent(name)));
    here.map(|selector| without_values(selector).to_string()).collect()
}

fn without_values(mut selector: VectorSelector) -> VectorSelector {
    for matcher in &mut selector.matchers.matchers {
        if BORN_WITH_FAULT.contains(&&*matcher.name) {
            *matcher = Matcher::new(MatchOp::NotEqual, &matcher.name, "");
        }
    }
    selector
}

/// Queries that must have no data, with why.
pub(super) fn without_data() -> Vec<(String, &'static str)> {
    let absent = ABSENT.iter().map(|(listed, why)| {
        let pattern = listed.replace('*', ".*");
        (format!("count({{__name__=~\"{pattern}\"}})"), *why)
    });
    absent.chain(OF_FAULTS.iter().map(|(query, why)| ((*query).to_owned(), *why))).collect()
}

/// What is listed and asked by nobody.
pub(super) fn not_asked(asked: &[Asked]) -> Vec<&'static str> {
    let metrics: Vec<String> =
        asked.iter().flat_map(|asked| Query::parse(&asked.plain()).unwrap_or_default().metrics).collect();
    let is_used =
        |listed: &str| metrics.iter().any(|metric| metric.starts_with(listed.trim_end_matches('*')));
    let is_asked = |query: &str| asked.iter().any(|asked| asked.plain() == query);
    let absent = ABSENT.iter().map(|(listed, _)| *listed).filter(|listed| !is_used(listed));
    absent.chain(OF_FAULTS.iter().map(|(query, _)| *query).filter(|query| !is_asked(query))).collect()
}
