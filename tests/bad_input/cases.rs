//! Runs `cases.json`.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use api::descriptor;
use serde::Deserialize;
use serde_json::Value;
use tests::status::{has_common_details, metadata, violations};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::raw;
use crate::stage::{Stage, service_of};

/// One wrong call and what it gets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Unique; begins with the row of the catalogue.
    id: String,
    rpc: String,
    /// Who calls.
    #[serde(rename = "as")]
    caller: String,
    message: Value,
    code: String,
    reason: String,
    /// `field REASON`, all of them.
    #[serde(default)]
    violations: Vec<String>,
    /// Kinds of further details that must be there.
    #[serde(default)]
    details: Vec<String>,
    /// Values in ErrorInfo's metadata that must be there.
    #[serde(default)]
    metadata: std::collections::BTreeMap<String, String>,
}

fn cases() -> Result<Vec<Case>> {
    serde_json::from_str(include_str!("cases.json")).context("cases.json")
}

fn code_name(code: Code) -> String {
    let camel = format!("{code:?}");
    let mut name = String::new();
    for (at, letter) in camel.char_indices() {
        if at > 0 && letter.is_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

async fn run(stage: &Stage, case: &Case) -> Result<Vec<String>> {
    let message = raw::encode(&case.rpc, &stage.fill(&case.message)?)?;
    let token = stage.token(&case.caller)?.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("grpc-timeout", "5S")];
    headers.extend(token.as_deref().map(|token| ("authorization", token)));
    let address = stage.address(service_of(&case.rpc)?);
    let answer = raw::call(&address, &case.rpc, &headers, raw::frame(&message)).await?;
    let status = &answer.status;
    let details = status.get_error_details();
    let mut wrong = Vec::new();
    let mut expect = |what: &str, expected: &dyn std::fmt::Debug, seen: &dyn std::fmt::Debug| {
        let (expected, seen) = (format!("{expected:?}"), format!("{seen:?}"));
        if expected != seen {
            wrong.push(format!("{what}: expected {expected}, got {seen}"));
        }
    };
    expect("code", &case.code, &code_name(status.code()));
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    expect("reason", &case.reason, &reason);
    expect("violations", &case.violations, &violations(status));
    for (key, value) in &case.metadata {
        expect(&format!("metadata {key}"), &Some(value), &metadata(status, key).as_ref());
    }
    let present = [
        ("PreconditionFailure", details.precondition_failure().is_some()),
        ("QuotaFailure", details.quota_failure().is_some()),
        ("ResourceInfo", details.resource_info().is_some()),
        ("RetryInfo", details.retry_info().is_some()),
    ];
    for kind in &case.details {
        expect(kind, &Some(true), &present.iter().find(|(name, _)| name == kind).map(|(_, there)| *there));
    }
    expect("ErrorInfo and RequestInfo", &true, &has_common_details(status));
    if !wrong.is_empty() {
        wrong.push(format!("message: {}", status.message()));
    }
    Ok(wrong)
}

#[tokio::test]
async fn each_wrong_call_gets_its_error_and_changes_nothing() -> Result<()> {
    let stage = &Stage::get().await?;
    let before = stage.settled_digest().await?;
    let mut failures = Vec::new();
    let cases = cases()?;
    for case in &cases {
        let wrong = run(stage, case).await.with_context(|| format!("row {}", case.id))?;
        failures.extend(wrong.into_iter().map(|what| format!("{} ({}): {what}", case.id, case.rpc)));
    }
    assert!(failures.is_empty(), "{} of {} rows:\n{}", failures.len(), cases.len(), failures.join("\n"));
    assert_eq!(stage.settled_digest().await?, before, "an error row changed the state");
    stage.system.no_errors_logged()
}

#[test]
fn each_row_has_an_id_of_its_own_and_each_rpc_has_a_row() -> Result<()> {
    let cases = cases()?;
    let ids: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids.len(), cases.len(), "two rows have one id");
    let covered: BTreeSet<&str> = cases.iter().map(|case| case.rpc.as_str()).collect();
    // A request without fields cannot be wrong.
    let missing: Vec<String> = descriptor::pool()
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .filter(|method| method.input().fields().len() > 0)
        .map(|method| format!("{}/{}", method.parent_service().full_name(), method.name()))
        .filter(|path| !covered.contains(path.as_str()))
        .collect();
    assert!(missing.is_empty(), "no row for {}", missing.join(", "));
    Ok(())
}
