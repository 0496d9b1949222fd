//! What the server counts of its calls. All servers of this binary count together, so only differences are looked at.

use std::time::Duration;

use api::order::v1::GetProductRequest;
use prost::Message as _;
use runtime::config::ServerConfig;
use runtime::health::Readiness;
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::harness::{GET as PATH, Harness, PATIENCE, frame, take};

const GET: &str = "order.v1.CatalogService/GetProduct";

/// The value of a series now; zero when it is not there.
fn value(series: &str) -> f64 {
    let text = metrics::text();
    let start = format!("{series} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&start)?.split(' ').next()?.parse().ok())
        .unwrap_or_default()
}

fn calls(method: &str, code: &str) -> f64 {
    value(&format!(
        "rpc_server_call_duration_seconds_count{{rpc_method=\"{method}\",rpc_response_status_code=\"{code}\"}}"
    ))
}

/// Claim: each call counts once, by its method and by the code that its caller hears.
#[tokio::test]
async fn a_call_counts_by_the_code_that_its_caller_hears() {
    let harness = Harness::start().await;
    for (product, code) in
        [("p", "OK"), ("refused", "ABORTED"), ("careless", "INTERNAL"), ("panic", "INTERNAL")]
    {
        let (before, panics) = (calls(GET, code), value("panics_total"));
        let _answer = harness.get(product, &[]).await;
        assert!(calls(GET, code) >= before + 1.0, "{product}: {}", metrics::text());
        assert!(product != "panic" || value("panics_total") >= panics + 1.0);
    }
    let before = calls(GET, "DEADLINE_EXCEEDED");
    // By a client that gives nothing up itself.
    let message = GetProductRequest { product_id: "wait".to_owned() }.encode_to_vec();
    let framed = frame(0, u32::try_from(message.len()).unwrap(), &message);
    let status = harness.send(PATH, &[("grpc-timeout", "20m")], &framed).await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(calls(GET, "DEADLINE_EXCEEDED") >= before + 1.0);
}

/// Claim: a caller who goes away before the answer leaves a call that counts as cancelled, and one less in progress.
#[tokio::test]
async fn a_call_whose_caller_goes_away_counts_as_cancelled() {
    let harness = Harness::start().await;
    let before = calls(GET, "CANCELLED");
    tokio::select! {
        answer = harness.get("wait", &[]) => panic!("it is not let go on: {answer:?}"),
        () = take(&harness.stage.waiting) => {}
    }
    let counted = async {
        while calls(GET, "CANCELLED") < before + 1.0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, counted).await.expect("the call is counted");
}

/// Claim: what is refused is counted by the limit that was reached, and is no series of its own.
#[tokio::test]
async fn a_refused_call_counts_by_its_limit() {
    let refused = || value("server_refused_total{limit=\"calls_of_peer\"}");
    let config = ServerConfig { calls_per_peer_max: 1, ..ServerConfig::for_tests() };
    let harness = Harness::start_with(config, Readiness::always(), |_| {}).await;
    let (before, exhausted) = (refused(), calls(GET, "RESOURCE_EXHAUSTED"));
    let waits = harness.get("wait", &[]);
    let other = async {
        take(&harness.stage.waiting).await;
        harness.get("p", &[]).await.unwrap_err();
        harness.stage.go_on.add_permits(1);
    };
    let (waited, ()) = timeout(PATIENCE, async { tokio::join!(waits, other) }).await.unwrap();
    waited.unwrap();
    assert!(refused() >= before + 1.0 && calls(GET, "RESOURCE_EXHAUSTED") >= exhausted + 1.0);
}
