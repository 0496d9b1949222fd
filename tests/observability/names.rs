//! Whether the names in the files are those of the code.

use std::collections::BTreeSet;

use api::descriptor;

use crate::files::Files;
use crate::promql::Query;

/// The recorded percentile, which leaves out what may take long.
const PERCENTILE: &str = "job_method:rpc_server_call_duration_seconds:p99_rate5m";
/// Methods that hash a password.
const HASHING: [&str; 3] = [
    "session.v1.SessionService/Login",
    "user.v1.UserService/CreateUser",
    "user.v1.UserService/VerifyPassword",
];

/// The methods of all services, such as `order.v1.OrderService/PlaceOrder`, and whether each is a stream.
fn methods() -> Vec<(String, bool)> {
    let services = descriptor::pool().services();
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    let named = methods.map(|method| {
        let name = format!("{}/{}", method.parent_service().full_name(), method.name());
        (name, method.is_server_streaming() || method.is_client_streaming())
    });
    named.collect()
}

pub(crate) fn wrong(files: &Files) -> Vec<String> {
    let mut found = unknown_methods(files);
    let expected = |record: &str, label: &str| -> BTreeSet<String> {
        let rules = files.rules.iter().filter(|rule| rule.record.as_deref() == Some(record));
        rules.filter_map(|rule| rule.labels.get(label).cloned()).collect()
    };
    let mut compare = |record: &str, label: &str, real: BTreeSet<String>| {
        let expected = expected(record, label);
        if expected != real {
            found.push(format!("{record} has {expected:?}, and the services have {real:?}"));
        }
    };
    let services = ["user-service", "order-service", "session-service"];
    compare("tristore:service_expected", "job", services.map(str::to_owned).into());
    compare("tristore:consumer_expected", "consumer", consumers(&files.sources));
    found
}

/// From `ConsumerId { name: "order.customers", stream: "user" }`.
fn consumers(sources: &str) -> BTreeSet<String> {
    let written = sources.split("ConsumerId { name: \"").skip(1);
    written.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

/// Methods that a page or the collector names, and that do not exist.
fn unknown_methods(files: &Files) -> Vec<String> {
    let known = methods();
    let mut found = Vec::new();
    let pages = files.runbooks.iter().map(|(name, text)| (format!("{name}.md"), text.clone()));
    // Points and bars are escaped in patterns.
    let collector = ("otel-collector.yaml".to_owned(), files.collector.replace('\\', ""));
    for (place, text) in pages.chain([collector]) {
        let words = text.split(|c: char| c.is_whitespace() || "`'\"()^$|,;".contains(c));
        let named = words.filter(|word| word.contains(".v1.") && word.contains('/'));
        for word in named.map(|word| word.trim_end_matches(['.', ':'])) {
            let starts =
                known.iter().any(|(name, _)| name == word || (word.ends_with('/') && name.starts_with(word)));
            if !starts {
                found.push(format!("{place}: no method is called {word}"));
            }
        }
    }
    found
}

pub(crate) fn wrongly_timed(files: &Files) -> Vec<String> {
    let Some(rule) = files.rules.iter().find(|rule| rule.record.as_deref() == Some(PERCENTILE)) else {
        return vec![format!("{PERCENTILE} is not recorded")];
    };
    let query = Query::parse(&rule.expr).unwrap_or_default();
    let is_timed = |method: &str| {
        let of_methods = query.left_out.iter().filter(|matcher| matcher.name == "rpc_method");
        of_methods.into_iter().all(|matcher| matcher.is_match(method))
    };
    let methods = methods();
    let mut found: Vec<String> = methods
        .iter()
        .filter(|(name, is_stream)| (*is_stream || HASHING.contains(&&**name)) && is_timed(name))
        .map(|(name, _)| format!("{name} may take long, and is timed"))
        .collect();
    if !is_timed("order.v1.OrderService/PlaceOrder") {
        found.push("order.v1.OrderService/PlaceOrder is not timed".to_owned());
    }
    found
}
