//! What holds for every rpc: who may call it, told before its message is even decoded.

use anyhow::{Context, Result};
use api::auth::v1::{Policy, Role};
use api::descriptor;
use prost::Message as _;
use prost_reflect::{MethodDescriptor, Value};
use tests::status::{code_and_reason, has_common_details};
use tonic::Code;

use crate::raw;
use crate::stage::{Stage, services_of};

const GARBAGE: [&str; 8] = [
    "Bearer",
    "Bearer ",
    "Bearer x",
    "Bearer ts_a_00_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaa",
    "Basic YWRtaW46YWRtaW4=",
    "bearer\u{9}tab",
    "Bearer ../../etc/passwd",
    "Bearer aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// Each method at each service that has it: path, where to call it, and what the descriptors say of it.
fn methods(stage: &Stage) -> Result<Vec<(String, String, MethodDescriptor)>> {
    let mut all = Vec::new();
    for method in descriptor::pool().services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let path = format!("{}/{}", method.parent_service().full_name(), method.name());
        for service in services_of(&path)? {
            all.push((path.clone(), stage.address(service), method.clone()));
        }
    }
    Ok(all)
}

pub(crate) fn policy(method: &MethodDescriptor) -> Result<Policy> {
    let options = method.options();
    let (_, value) = options
        .extensions()
        .find(|(extension, _)| extension.full_name() == "auth.v1.policy")
        .with_context(|| format!("{} has no policy", method.full_name()))?;
    let Value::Message(message) = value else { anyhow::bail!("a policy is a message") };
    Ok(Policy::decode(message.encode_to_vec().as_slice())?)
}

/// Bytes that no message type takes, so that an admitted call gets no further than decoding.
const NO_MESSAGE: &[u8] = &[0xff, 0xff, 0xff];

#[tokio::test]
async fn without_good_credentials_only_open_methods_answer() -> Result<()> {
    let stage = &Stage::get().await?;
    let before = stage.settled_digest().await?;
    let ended = format!("Bearer {}", stage.token("ended")?.context("a token")?);
    let refresh = format!("Bearer {}", stage.token("buyer_refresh_token")?.context("a token")?);
    for (path, address, method) in methods(stage)? {
        let open = policy(&method)?.anyone;
        let call = async |headers: &[(&str, &str)]| -> Result<(Code, String)> {
            let answer = raw::call(&address, &path, headers, raw::frame(NO_MESSAGE)).await?;
            assert!(has_common_details(&answer.status), "{path}: {:?}", answer.status);
            Ok(code_and_reason(&answer.status))
        };
        let admitted = (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned());
        let refused = |reason: &str| (Code::Unauthenticated, reason.to_owned());
        let expected = if open { admitted.clone() } else { refused("MISSING_CREDENTIALS") };
        assert_eq!(call(&[]).await?, expected, "{path} at {address} without a token");
        for garbage in GARBAGE.into_iter().chain([ended.as_str(), refresh.as_str()]) {
            let answer = call(&[("authorization", garbage)]).await?;
            // An open method looks nothing up, but it may refuse a header that no token can be in.
            let expected = answer == refused("INVALID_CREDENTIALS") || open && answer == admitted;
            assert!(expected, "{path} with {garbage:?}: {answer:?}");
        }
        let buyer = format!("Bearer {}", stage.token("buyer")?.context("a token")?);
        let two = [("authorization", buyer.as_str()), ("authorization", buyer.as_str())];
        assert_eq!(call(&two).await?, refused("AMBIGUOUS_CREDENTIALS"), "{path} with two tokens");
        let spoofed = [("x-user-id", "admin"), ("x-role", "admin"), ("x-forwarded-client-cert", "By=admin")];
        let expected = if open { admitted } else { refused("MISSING_CREDENTIALS") };
        assert_eq!(call(&spoofed).await?, expected, "{path} with headers that claim an identity");
    }
    assert_eq!(stage.settled_digest().await?, before);
    stage.system.no_errors_logged()
}

#[tokio::test]
async fn each_caller_is_admitted_exactly_where_the_policy_says() -> Result<()> {
    let stage = &Stage::get().await?;
    let people = [("buyer", Role::Customer), ("seller", Role::Merchant), ("admin", Role::Admin)];
    let services = ["user-service", "order-service", "session-service"];
    for (path, address, method) in methods(stage)? {
        let policy = policy(&method)?;
        let call = async |who: &str| -> Result<(Code, String)> {
            let token = format!("Bearer {}", stage.token(who)?.context("a token")?);
            let headers = [("authorization", token.as_str())];
            let answer = raw::call(&address, &path, &headers, raw::frame(NO_MESSAGE)).await?;
            Ok(code_and_reason(&answer.status))
        };
        let admitted = (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned());
        for (who, role) in people {
            let may = policy.anyone || policy.authenticated || policy.roles().any(|one| one == role);
            let refused = (Code::PermissionDenied, "PERMISSION_DENIED".to_owned());
            let expected = if may { admitted.clone() } else { refused };
            assert_eq!(call(who).await?, expected, "{path} at {address} called by {who}");
        }
        for service in services {
            let may = policy.anyone || policy.services.iter().any(|one| one == service);
            let refused = (Code::PermissionDenied, "CALLER_NOT_ALLOWED".to_owned());
            let expected = if may { admitted.clone() } else { refused };
            assert_eq!(call(service).await?, expected, "{path} at {address} called by {service}");
        }
    }
    stage.system.no_errors_logged()
}
