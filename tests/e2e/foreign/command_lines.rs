//! Calls by `buf curl` and grpcurl, which know the APIs by reflection only.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{HeaderMap, HeaderName};
use prost::Message;
use serde_json::{Value, json};
use testkit::client::{PASSWORD, request_id};
use tests::{System, tool};
use tokio::process::Command;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic_types::pb;

const WITHIN: Duration = Duration::from_secs(60);

async fn curl(buf: &Path, url: &str, token: &str, message: Value) -> Result<Output> {
    let mut curl = Command::from(testkit::tool(buf));
    curl.args(["curl", "--http2-prior-knowledge", "--protocol", "grpc"]);
    curl.args(["--header", &format!("authorization: Bearer {token}"), "--data", &message.to_string(), url]);
    let output = timeout(WITHIN, curl.kill_on_drop(true).output()).await;
    output.context("buf curl takes too long")?.context("running buf curl")
}

/// CLAIM: a person with `buf curl` and no proto file is served, and on bad input gets a BadRequest that names every
/// field that is wrong.
#[tokio::test]
async fn buf_curl_is_told_every_wrong_field_at_once() -> Result<()> {
    let Some(buf) = tool::find("buf", "buf_curl_is_told_every_wrong_field_at_once") else { return Ok(()) };
    let system = System::shared().await?;
    let url = format!("{}/user.v1.UserService/CreateUser", system.stack.services.user.url());

    let email = format!("buf.{}@example.com", request_id());
    let good =
        json!({ "requestId": request_id(), "email": email, "displayName": "Buf", "password": PASSWORD });
    let output = curl(&buf, &url, &system.admin.access_token, good).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(answer["user"]["displayName"], "Buf", "{answer}");

    let bad = json!({ "requestId": "seven", "email": "nobody", "displayName": "", "password": "short" });
    let output = curl(&buf, &url, &system.admin.access_token, bad).await?;
    ensure!(!output.status.success(), "bad input was accepted");
    let error: Value = serde_json::from_slice(&output.stderr)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    assert_eq!(error["code"], "invalid_argument", "{error}");
    let info: pb::ErrorInfo = detail(&error, "google.rpc.ErrorInfo")?;
    assert_eq!((&*info.reason, &*info.domain), ("INVALID_REQUEST", "user.tristore"), "{error}");
    let violations = detail::<pb::BadRequest>(&error, "google.rpc.BadRequest")?.field_violations;
    let violations: Vec<String> =
        violations.into_iter().map(|violation| format!("{} {}", violation.field, violation.reason)).collect();
    let expected =
        ["request_id INVALID_ID", "email INVALID_EMAIL", "display_name REQUIRED", "password WEAK_PASSWORD"];
    assert_eq!(violations, expected, "{error}");
    Ok(())
}

/// A detail of an error. `buf curl` prints what it does not know itself as a name and base64, as trailers have it.
fn detail<M: Message + Default>(error: &Value, name: &str) -> Result<M> {
    let mut details = error["details"].as_array().into_iter().flatten();
    let found = details.find(|detail| detail["type"] == name);
    let value = found.and_then(|detail| detail["value"].as_str());
    let value = value.with_context(|| format!("no {name} in {error}"))?;
    let headers = HeaderMap::from_iter([(HeaderName::from_static("detail-bin"), value.parse()?)]);
    let metadata = MetadataMap::from_headers(headers);
    let bytes = metadata.get_bin("detail-bin").context("a trailer")?.to_bytes()?;
    Ok(M::decode(bytes)?)
}

/// CLAIM: a person with grpcurl reads in words which fields are wrong: reflection knows the messages of error details.
#[tokio::test]
async fn grpcurl_tells_every_wrong_field_in_words() -> Result<()> {
    let Some(grpcurl) = tool::find("grpcurl", "grpcurl_tells_every_wrong_field_in_words") else {
        return Ok(());
    };
    let system = System::shared().await?;
    let mut call = Command::from(testkit::tool(grpcurl));
    call.args(["-plaintext", "-d", r#"{"email":"nobody"}"#, &system.stack.services.user.address()]);
    call.arg("user.v1.UserService/CreateUser").kill_on_drop(true);
    let output = timeout(WITHIN, call.output()).await.context("grpcurl takes too long")??;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "bad input was accepted");
    for words in [
        r#""field":"request_id","description":"must be set: a UUID"#,
        r#""field":"email","description":"must be an e-mail address"#,
        r#""field":"display_name","description":"must be set""#,
        r#""field":"password","description":"must be set""#,
        r#""reason":"INVALID_REQUEST""#,
    ] {
        assert!(error.contains(words), "no {words} in {error}");
    }
    Ok(())
}

/// CLAIM: a person with grpcurl sees by name who may call a method, and looks up the option itself; what is not there is
/// told as that.
#[tokio::test]
async fn grpcurl_shows_who_may_call_a_method() -> Result<()> {
    let Some(grpcurl) = tool::find("grpcurl", "grpcurl_shows_who_may_call_a_method") else { return Ok(()) };
    let system = System::shared().await?;
    let address = system.stack.services.user.address();
    let describe = async |symbol: &str| -> Result<Output> {
        let mut call = Command::from(testkit::tool(&grpcurl));
        call.args(["-plaintext", &address, "describe", symbol]).kill_on_drop(true);
        timeout(WITHIN, call.output()).await.context("grpcurl takes too long")?.context("running grpcurl")
    };
    for (symbol, expected) in [
        ("user.v1.UserService.CreateUser", "option(.auth.v1.policy)={anyone:true};"),
        ("auth.v1.policy", "auth.v1.policyisanextension"),
    ] {
        let output = describe(symbol).await?;
        // Go's protobuf varies the white space on purpose.
        let said: String = String::from_utf8_lossy(&output.stdout).split_whitespace().collect();
        assert!(said.contains(expected), "{symbol}: {said} {}", String::from_utf8_lossy(&output.stderr));
    }
    let output = describe("no.such.Symbol").await?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("Symbol not found: no.such.Symbol"), "{error}");
    Ok(())
}
