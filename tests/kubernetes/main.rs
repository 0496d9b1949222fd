//! What the manifests in `deploy/kubernetes` promise, checked on what kustomize makes of them.
//!
//! A rule is a function that lists what breaks it. One test applies all of them to every overlay, and another spoils a
//! manifest for each of them and sees that it is caught.

mod capacity;
mod manifests;
mod network;
mod pods;
mod references;
mod release;
mod settings;
mod spoiled;
mod tables;

use manifests::{Manifests, OVERLAYS};

/// What lists how manifests break it.
type Rule = fn(&Manifests) -> Vec<String>;

/// The rules by which anything in the cluster is looked at.
const RULES: [(&str, Rule); 14] = [
    ("pods are restricted", pods::unrestricted),
    ("no pod has a token", pods::with_token),
    ("no secret is a variable or a subPath", pods::with_exposed_secret),
    ("what a pod names is there", references::missing),
    ("no Secret is there that nobody names", references::unused),
    ("services have a budget, probes, spread and no replicas", pods::unready),
    ("memory is limited to what is requested, and CPU is not", pods::without_memory),
    ("a pod has time to end", capacity::cut_short),
    ("a start has time to wait for its database", capacity::started_in_haste),
    ("databases have room for every pod", capacity::crowded),
    ("pods end without a preStop, and none is missed meanwhile", capacity::missed),
    ("Jobs and images are of the release", release::of_another_release),
    ("both ends of a connection allow it", network::one_sided),
    ("nothing is allowed by default", network::open),
];

#[test]
fn every_overlay_keeps_the_rules() {
    let Some(overlays) = Manifests::all("every_overlay_keeps_the_rules") else { return };
    let mut found = Vec::new();
    for (overlay, manifests) in OVERLAYS.iter().zip(&overlays) {
        for (rule, broken) in RULES {
            found.extend(broken(manifests).into_iter().map(|what| format!("{overlay}: {rule}: {what}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
