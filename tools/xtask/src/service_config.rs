//! `deploy/grpc/service-config.json`: how any client of gRPC should call our services, from what their methods say.

use std::collections::BTreeMap;

use anyhow::Result;
use api::descriptor;
use serde_json::{Value, json};
use testkit::Reference;
use testkit::state::workspace;

/// Where it is.
const FILE: &str = "deploy/grpc/service-config.json";
/// `google.protobuf.MethodOptions.IdempotencyLevel`.
const NO_SIDE_EFFECTS: i32 = 1;
const IDEMPOTENT: i32 = 2;

/// Fails when the file is not what the descriptors say.
pub(crate) fn check() -> Result<()> {
    Reference::check_file(workspace().join(FILE), &text()?)
}

fn text() -> Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(&config())?))
}

/// What a client needs to know of a method. Methods of one kind share an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    is_stream: bool,
    may_repeat: bool,
}

impl Kind {
    fn entry(self, methods: &[Value]) -> Value {
        let mut entry = json!({ "name": methods, "waitForReady": true });
        if !self.is_stream {
            entry["timeout"] = json!("5s");
        }
        if self.may_repeat {
            entry["retryPolicy"] = json!({
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            });
        }
        entry
    }
}

fn config() -> Value {
    let mut methods: BTreeMap<Kind, Vec<Value>> = BTreeMap::new();
    for service in descriptor::pool().services() {
        for method in service.methods() {
            let options = method.options();
            let level =
                options.get_field_by_name("idempotency_level").and_then(|level| level.as_enum_number());
            let kind = Kind {
                is_stream: method.is_server_streaming() || method.is_client_streaming(),
                // A repeat with the same `request_id` has no second effect.
                may_repeat: matches!(level, Some(NO_SIDE_EFFECTS | IDEMPOTENT))
                    || method.input().get_field_by_name("request_id").is_some(),
            };
            let name = json!({ "service": service.full_name(), "method": method.name() });
            methods.entry(kind).or_default().push(name);
        }
    }
    let entries: Vec<_> = methods.iter().map(|(kind, methods)| kind.entry(methods)).collect();
    json!({
        "loadBalancingConfig": [{ "round_robin": {} }],
        "healthCheckConfig": { "serviceName": "" },
        "methodConfig": entries,
        "retryThrottling": { "maxTokens": 10, "tokenRatio": 0.1 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_the_descriptors_say() {
        check().unwrap();
    }

    /// The entry of a method.
    fn entry(config: &Value, service: &str, method: &str) -> Value {
        let entries = config["methodConfig"].as_array().unwrap();
        let name = json!({ "service": service, "method": method });
        let of = entries.iter().filter(|entry| entry["name"].as_array().unwrap().contains(&name));
        let of: Vec<_> = of.collect();
        assert_eq!(of.len(), 1, "{name} is in one entry");
        of[0].clone()
    }

    #[test]
    fn only_what_may_be_repeated_is_and_streams_have_no_timeout() {
        let config = config();
        for (service, method, may_repeat, is_stream) in [
            // It has no side effects.
            ("order.v1.CatalogService", "GetProduct", true, false),
            // It carries a `request_id`.
            ("order.v1.TransferService", "PayOrder", true, false),
            // A second log-in is a second session.
            ("session.v1.SessionService", "Login", false, false),
            ("order.v1.TransferService", "WatchTransfer", true, true),
            ("order.v1.AuditService", "RunAudit", false, true),
        ] {
            let entry = entry(&config, service, method);
            assert_eq!(entry.get("retryPolicy").is_some(), may_repeat, "{service}/{method}: {entry}");
            assert_eq!(entry.get("timeout").is_none(), is_stream, "{service}/{method}: {entry}");
            assert_eq!(entry["waitForReady"], true);
        }
    }

    #[test]
    fn every_method_has_an_entry() {
        let config = config();
        for service in descriptor::pool().services() {
            for method in service.methods() {
                entry(&config, service.full_name(), method.name());
            }
        }
    }
}
