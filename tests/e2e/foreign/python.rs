//! A client in another language.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::client::PASSWORD;
use testkit::state;
use tests::{System, tool};
use tokio::process::Command;
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(120);

/// CLAIM: what the servers say of themselves by reflection is all that a client needs, for the messages as well as
/// for the details of errors: `client.py` has no generated code and no proto file.
#[tokio::test]
async fn a_python_client_goes_from_sign_up_to_a_refund_by_reflection_alone() -> Result<()> {
    let Some(python) = tool::python("a_python_client_goes_from_sign_up_to_a_refund_by_reflection_alone")
    else {
        return Ok(());
    };
    let system = System::shared().await?;
    let services = &system.stack.services;
    let mut client = Command::from(testkit::tool(python));
    client
        .arg(state::workspace().join("tests/e2e/foreign/client.py"))
        .args([services.user.address(), services.order.address(), services.session.address()])
        .arg(&system.admin.email)
        .env("ADMIN_PASSWORD", PASSWORD)
        // As somebody runs it behind a proxy, which does not know of this machine's ports.
        .envs(["http_proxy", "https_proxy", "grpc_proxy"].map(|name| (name, "http://127.0.0.1:9")))
        .kill_on_drop(true);
    let output = timeout(WITHIN, client.output()).await.context("the client takes too long")??;
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{said}\n{error}");

    let services = ["user.v1.WalletService", "order.v1.TransferService", "session.v1.SessionService"];
    for (line, service) in said.lines().zip(services) {
        assert!(line.starts_with("offers ") && line.contains(service), "no {service}: {line}");
    }
    let steps: Vec<&str> = said.lines().skip(services.len()).collect();
    let expected = [
        "extensions 5, [51001], auth/v1/policy.proto, auth.v1.policy anyone: true",
        "refused INVALID_ARGUMENT INVALID_REQUEST of user.tristore | request_id REQUIRED email INVALID_EMAIL \
         display_name REQUIRED password WEAK_PASSWORD",
        "refused UNAUTHENTICATED INVALID_CREDENTIALS of session.tristore",
        "signed up Ann and Ben",
        "refused PERMISSION_DENIED PERMISSION_DENIED of user.tristore",
        "granted Ann 5000, made Ben a merchant",
        "paid 2500 STATE_COMPLETED and a repeat got the same answer",
        "refused FAILED_PRECONDITION INSUFFICIENT_CREDIT of order.tristore",
        "refunded 100",
        "Ann's wallet has 2600 Ben's account has 2400",
    ];
    assert_eq!(steps, expected);
    Ok(())
}
