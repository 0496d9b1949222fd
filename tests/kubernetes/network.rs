//! Who may connect to whom, read from both ends of the network policies.

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::Reference;

use crate::manifests::{Manifests, OVERLAYS, list, name, selects, text};
use crate::tables;

/// A connection: from whom, to whom, and the port.
type Pair = (String, String, u64);

const NAME: &str = "app.kubernetes.io/name";
const COMPONENT: &str = "app.kubernetes.io/component";
const NAMESPACE: &str = "kubernetes.io/metadata.name";
/// The names of what is outside of the namespace begin like this.
const OUTSIDE: [&str; 2] = ["namespace", "anything"];

/// What a pod's labels call it: `user-service`, or `user-service migration` for its Job.
fn called(labels: &Value) -> String {
    let name = text(&labels[NAME]);
    match text(&labels[COMPONENT]) {
        "migration" => format!("{name} migration"),
        _ => name.to_owned(),
    }
}

/// What runs here: the pods, and those that operators make.
fn everybody(manifests: &Manifests) -> Vec<Value> {
    let own = manifests.pods().into_iter().map(|pod| pod.labels.clone());
    let clusters = manifests.of_kind("Cluster").map(|it| {
        let mut labels = it["spec"]["inheritedMetadata"]["labels"].clone();
        labels["cnpg.io/cluster"] = it["metadata"]["name"].clone();
        labels
    });
    let sets = manifests.of_kind("MongoDBCommunity");
    let sets = sets.map(|it| it["spec"]["statefulSet"]["spec"]["template"]["metadata"]["labels"].clone());
    own.chain(clusters).chain(sets).collect()
}

/// The names of the pods here that a selector selects.
fn here(everybody: &[Value], selector: &Value) -> Vec<String> {
    let selected = everybody.iter().filter(|labels| selects(selector, labels));
    selected.map(called).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The names of those that one end of a rule is about.
fn others(everybody: &[Value], other: &Value) -> Vec<String> {
    let Some(labels) = other["namespaceSelector"]["matchLabels"].as_object() else {
        return here(everybody, &other["podSelector"]);
    };
    let of_label = |(key, value): (&String, &Value)| match key.as_str() {
        NAMESPACE => format!("namespace `{}`", text(value)),
        key => format!("namespaces with `{key}={}`", text(value)),
    };
    labels.iter().map(of_label).collect()
}

/// What policies allow at one end of connections, DNS aside.
fn allowed(manifests: &Manifests, direction: &str) -> BTreeSet<Pair> {
    let everybody = everybody(manifests);
    let (rules, ends) = if direction == "Ingress" { ("ingress", "from") } else { ("egress", "to") };
    let mut found = BTreeSet::new();
    for policy in manifests.of_kind("NetworkPolicy").filter(|policy| name(policy) != "dns") {
        for rule in list(&policy["spec"][rules]) {
            let ends = list(&rule[ends]);
            let others: Vec<String> = if ends.is_empty() {
                vec!["anything".to_owned()]
            } else {
                ends.iter().flat_map(|end| others(&everybody, end)).collect()
            };
            // A rule without ports is about all of them.
            let ports = list(&rule["ports"]).iter().map(|port| port["port"].as_u64().unwrap_or_default());
            let ports: Vec<u64> = if list(&rule["ports"]).is_empty() { vec![0] } else { ports.collect() };
            for own in here(&everybody, &policy["spec"]["podSelector"]) {
                for other in &others {
                    let (from, to) = if direction == "Ingress" {
                        (other.clone(), own.clone())
                    } else {
                        (own.clone(), other.clone())
                    };
                    found.extend(ports.iter().map(|port| (from.clone(), to.clone(), *port)));
                }
            }
        }
    }
    found
}

fn is_outside(end: &str) -> bool {
    OUTSIDE.iter().any(|start| end.starts_with(start))
}

/// The connections that both ends allow; one end is enough where the other is not ours to ask.
fn pairs(manifests: &Manifests) -> BTreeSet<Pair> {
    let (arriving, leaving) = (allowed(manifests, "Ingress"), allowed(manifests, "Egress"));
    let arriving_from_outside = arriving.iter().filter(|(from, ..)| is_outside(from));
    let leaving_for_outside = leaving.iter().filter(|(_, to, _)| is_outside(to));
    let within = arriving.intersection(&leaving);
    arriving_from_outside.chain(leaving_for_outside).chain(within).cloned().collect()
}

/// Connections that one end allows and the other does not.
pub(crate) fn one_sided(manifests: &Manifests) -> Vec<String> {
    let (arriving, leaving) = (allowed(manifests, "Ingress"), allowed(manifests, "Egress"));
    let within = |(from, to, _): &&Pair| !is_outside(from) && !is_outside(to);
    let told = |(from, to, port): &Pair, what: &str| format!("{from} to {to}, port {port}: {what}");
    let refused =
        leaving.difference(&arriving).filter(within).map(|pair| told(pair, "may leave, and may not arrive"));
    let unsent =
        arriving.difference(&leaving).filter(within).map(|pair| told(pair, "may arrive, and may not leave"));
    refused.chain(unsent).collect()
}

/// Ways by which something connects that no pair allows.
pub(crate) fn open(manifests: &Manifests) -> Vec<String> {
    let mut found = Vec::new();
    let refuses = manifests.named("NetworkPolicy", "nothing").is_some_and(|policy| {
        let spec = &policy["spec"];
        spec["podSelector"] == serde_json::json!({})
            && list(&spec["policyTypes"]).len() == 2
            && spec["ingress"].is_null()
            && spec["egress"].is_null()
    });
    if !refuses {
        found.push("no policy refuses everything else".to_owned());
    }
    let all_ports = pairs(manifests).into_iter().filter(|(.., port)| *port == 0);
    found.extend(all_ports.map(|(from, to, _)| format!("{from} to {to}: on every port")));
    let nameless = everybody(manifests).into_iter().filter(|labels| text(&labels[NAME]).is_empty());
    found.extend(nameless.map(|labels| format!("a pod without a name: {labels}")));
    found
}

/// In which overlays a pair is, as the table says it.
fn places(overlays: &[BTreeSet<Pair>], pair: &Pair) -> String {
    let names: Vec<&str> = OVERLAYS
        .iter()
        .zip(overlays)
        .filter(|(_, pairs)| pairs.contains(pair))
        .map(|(name, _)| *name)
        .collect();
    if names.len() == OVERLAYS.len() { "all".to_owned() } else { names.join(", ") }
}

#[test]
fn the_readme_has_every_pair() {
    let Some(overlays) = Manifests::all("the_readme_has_every_pair") else { return };
    let overlays: Vec<BTreeSet<Pair>> = overlays.iter().map(pairs).collect();
    let all: BTreeSet<&Pair> = overlays.iter().flatten().collect();
    let rows = all.iter().map(|pair| {
        let (from, to, port) = pair;
        vec![from.clone(), to.clone(), port.to_string(), places(&overlays, pair)]
    });
    let table = tables::markdown(&["from", "to", "port", "overlays"], rows);
    Reference::new(tables::readme(), "pairs").check(&table).unwrap();
}
