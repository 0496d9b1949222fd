//! The log of a process, as it comes out of standard error. In a binary of its own, because a process has one log.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use clap::ValueEnum as _;
use runtime::config::{LogFormat, TelemetryConfig};
use runtime::telemetry;

/// Set for the process whose log is looked at: the test runs itself as that process.
const FORMAT: &str = "FORMAT_OF_LOGGING_PROCESS";

/// Claim: in either format a process writes a line for each cause, and says in the end how many it left out.
#[test]
fn a_process_writes_a_line_for_each_cause() {
    if let Some(format) = testkit::env::var(FORMAT) {
        return fail_often(LogFormat::from_str(&format, false).unwrap());
    }
    for (format, told) in [("json", "\"count\":99"), ("human", "count=99")] {
        let mut process = testkit::tool(std::env::current_exe().unwrap());
        process.args(["--exact", "a_process_writes_a_line_for_each_cause", "--nocapture"]);
        let output = process.env(FORMAT, format).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        for text in ["refused", "no space left", "left out lines that said the same", told] {
            assert_eq!(log.lines().filter(|line| line.contains(text)).count(), 1, "{format}, {text}: {log}");
        }
    }
}

fn fail_often(log_format: LogFormat) {
    let config = TelemetryConfig { log_format, ..TelemetryConfig::default() };
    let guard = telemetry::init("test", &config).unwrap();
    for port in 0..100 {
        let error = format!("127.0.0.1:{port} refused");
        tracing::warn!(error, "the call failed");
    }
    tracing::warn!(error = "no space left", "the call failed");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(guard.flush());
}
