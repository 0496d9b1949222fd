//! What Prometheus has to keep of a process.

use crate::harness::Harness;

/// Claim: whatever happens, a process has no more series than this.
#[tokio::test]
async fn a_process_never_has_more_than_3000_series() {
    let _harness = Harness::start().await;
    let most = metrics::series_most();
    assert!((1_000..=3_000).contains(&most), "{most}");
}
