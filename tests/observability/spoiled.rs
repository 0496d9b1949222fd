//! That each rule catches what breaks it.

use serde_json::json;

use crate::RULES;
use crate::files::{Files, Rule};

/// Spoils the files, and a part of what the rule then says.
type Spoil = (&'static str, fn(&mut Files), &'static str);

const SPOILS: [Spoil; 17] = [
    ("queries are PromQL", |files| alert(files, "EventPending").expr.push_str(" >"), "EventPending"),
    (
        "queries are PromQL",
        |files| page(files, "EventPending").push_str("\n```promql\nsum by (\n```\n"),
        "EventPending.md",
    ),
    (
        "every metric that is used is in metrics.md",
        |files| files.metrics = files.metrics.replace("| `outbox_lease_held` |", "| `outbox_lease` |"),
        "rules.yml, StreamWithoutHolder: outbox_lease_held",
    ),
    (
        "every metric that is used is in metrics.md",
        |files| panel(files)["targets"][0]["expr"] = json!("event_delivery_seconds"),
        "overview.json, Alerts that wake somebody: event_delivery_seconds",
    ),
    (
        "an alert says how bad it is and what it is about",
        |files| drop(alert(files, "Panic").labels.remove("severity")),
        "Panic has the severity",
    ),
    (
        "an alert says how bad it is and what it is about",
        |files| drop(alert(files, "Panic").annotations.remove("description")),
        "the description of Panic",
    ),
    (
        "every alert has a page, and every page its alert",
        |files| drop(files.runbooks.remove("Panic")),
        "Panic has no page",
    ),
    (
        "every alert has a page, and every page its alert",
        |files| alert(files, "Panic").alert = Some("Shock".to_owned()),
        "Panic.md is of no alert",
    ),
    (
        "every alert is tested both ways",
        |files| files.tests.retain(|test| test.alertname != "Panic" || test.exp_alerts.is_empty()),
        "Panic: fires in a test: false",
    ),
    (
        "every alert is on a dashboard, with its limit",
        |files| {
            let alert = alert(files, "EventPending");
            alert.expr = alert.expr.replace("30", "31");
        },
        "events.json, Oldest pending event",
    ),
    (
        "every alert is on a dashboard, with its limit",
        |files| drop(files.dashboards.remove("databases")),
        "MongodbMemberDown is on no dashboard",
    ),
    (
        "a dashboard is of no particular Grafana",
        |files| panel(files)["datasource"]["uid"] = json!("P1809F7CD0C75ACF3"),
        "its data source is not the variable",
    ),
    (
        "a dashboard can be narrowed down",
        |files| board(files, "ledger")["templating"]["list"] = json!([]),
        "ledger.json has the variables []",
    ),
    (
        "a panel says what it shows, and in which unit",
        |files| panel(files)["fieldConfig"]["defaults"]["unit"] = json!(""),
        "no unit",
    ),
    (
        "methods, services and consumers have their right names",
        |files| page(files, "SlowCalls").push_str("Call `order.v1.OrderService/PlaceOrders`."),
        "no method is called order.v1.OrderService/PlaceOrders",
    ),
    (
        "methods, services and consumers have their right names",
        |files| files.sources.push_str("ConsumerId { name: \"order.new\", stream: \"user\" }"),
        "order.new",
    ),
    (
        "no stream or password is held to be slow",
        |files| {
            let percentile = files.rules.iter_mut().find(|rule| rule.expr.contains("WatchTransfer"));
            let percentile = percentile.expect("a percentile is recorded");
            percentile.expr = percentile.expr.replace("WatchTransfer", "WatchTransfers");
        },
        "order.v1.TransferService/WatchTransfer may take long",
    ),
];

fn alert<'a>(files: &'a mut Files, name: &str) -> &'a mut Rule {
    let found = files.rules.iter_mut().find(|rule| rule.alert.as_deref() == Some(name));
    found.expect("the alert is there")
}

fn page<'a>(files: &'a mut Files, name: &str) -> &'a mut String {
    files.runbooks.get_mut(name).expect("the page is there")
}

fn board<'a>(files: &'a mut Files, name: &str) -> &'a mut serde_json::Value {
    files.dashboards.get_mut(name).expect("the dashboard is there")
}

/// The first panel of the overview that is no row.
fn panel(files: &mut Files) -> &mut serde_json::Value {
    &mut board(files, "overview")["panels"][1]
}

#[test]
fn files_that_break_a_rule_are_caught() {
    let files = Files::read();
    for (rule, spoil, said) in SPOILS {
        let mut spoiled = files.clone();
        spoil(&mut spoiled);
        let (_, broken) = RULES.iter().find(|(name, _)| *name == rule).expect("the rule is there");
        let found = broken(&spoiled);
        assert!(found.iter().any(|line| line.contains(said)), "{rule}, {said}: {found:?}");
    }
    for (rule, _) in RULES {
        assert!(SPOILS.iter().any(|(spoiled, ..)| *spoiled == rule), "nothing breaks: {rule}");
    }
}
