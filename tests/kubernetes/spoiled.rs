//! Each rule catches a manifest that breaks it.

use serde_json::{Value, json};

use crate::RULES;
use crate::manifests::{Manifests, name};

/// Changes what is at a path of the object of this kind and name. A path that is not there is made.
fn set(
    kind: &'static str,
    called: &'static str,
    path: &'static str,
    value: Value,
) -> impl Fn(&mut Manifests) {
    move |manifests| {
        let is_it = |object: &&mut Value| object["kind"] == kind && name(object).starts_with(called);
        let object = manifests.objects.iter_mut().find(is_it).expect("the object is there");
        let place = path.split('/').fold(object, |place, step| match step.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[step],
        });
        *place = value.clone();
    }
}

/// Takes out the object of this kind and name.
fn remove(kind: &'static str, called: &'static str) -> impl Fn(&mut Manifests) {
    move |manifests| {
        let before = manifests.objects.len();
        manifests.objects.retain(|object| object["kind"] != kind || !name(object).starts_with(called));
        assert!(manifests.objects.len() < before, "there is no {kind} {called}");
    }
}

type Spoil = Box<dyn Fn(&mut Manifests)>;

#[rustfmt::skip]
fn cases() -> Vec<(&'static str, Spoil, &'static str)> {
    let user = |path: &'static str, value: Value| -> Spoil { Box::new(set("Deployment", "user-service", path, value)) };
    vec![
        ("pods are restricted", user("spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem", json!(false)), "readOnlyRootFilesystem"),
        ("pods are restricted", user("spec/template/spec/containers/0/securityContext/capabilities/drop", json!([])), "capabilities"),
        ("pods are restricted", user("spec/template/spec/securityContext/runAsNonRoot", json!(null)), "runAsNonRoot"),
        ("pods are restricted", Box::new(set("Job", "user-service", "spec/template/spec/securityContext", json!({}))), "Job user-service"),
        ("pods are restricted", Box::new(remove("Namespace", "tristore")), "does not enforce"),
        ("no pod has a token", user("spec/template/spec/automountServiceAccountToken", json!(true)), "automountServiceAccountToken"),
        ("no pod has a token", Box::new(set("ServiceAccount", "user-service", "automountServiceAccountToken", json!(null))), "ServiceAccount user-service"),
        ("no secret is a variable or a subPath", user("spec/template/spec/containers/0/env", json!([{"name": "X", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}])), "a variable is of a Secret"),
        ("no secret is a variable or a subPath", user("spec/template/spec/containers/0/envFrom/1/secretRef", json!({"name": "x"})), "a variable is of a Secret"),
        ("no secret is a variable or a subPath", user("spec/template/spec/containers/0/volumeMounts/0/subPath", json!("mongodb-url")), "mounted by itself"),
        ("no secret is a variable or a subPath", Box::new(set("ConfigMap", "user-service-settings", "data/MONGODB_URL", json!("mongodb://a:b@c/d"))), "MONGODB_URL is not"),
        ("what a pod names is there", Box::new(remove("ConfigMap", "user-service-settings")), "there is no ConfigMap user-service-settings"),
        ("what a pod names is there", Box::new(remove("ServiceAccount", "order-service")), "there is no ServiceAccount"),
        ("what a pod names is there", user("spec/template/spec/volumes/0/secret/secretName", json!("forgotten")), "does not tell of Secret forgotten"),
        ("what a pod names is there", Box::new(set("ConfigMap", "user-service-settings", "data/MONGODB_URL", json!("file:/run/secrets/tristore/mongo"))), "has no key mongo"),
        ("what a pod names is there", Box::new(set("ConfigMap", "user-service-settings", "data/MONGODB_URL", json!("file:/etc/mongodb-url"))), "is not mounted"),
        ("no Secret is there that nobody names", Box::new(remove("StatefulSet", "event-redis")), "nothing needs Secret event-redis"),
        ("services have a budget, probes, spread and no replicas", user("spec/replicas", json!(3)), "`replicas`"),
        ("services have a budget, probes, spread and no replicas", Box::new(remove("PodDisruptionBudget", "user-service")), "no budget"),
        ("services have a budget, probes, spread and no replicas", Box::new(remove("HorizontalPodAutoscaler", "order-service")), "not one autoscaler"),
        ("services have a budget, probes, spread and no replicas", user("spec/template/spec/topologySpreadConstraints", json!([])), "not spread"),
        ("services have a budget, probes, spread and no replicas", user("spec/template/spec/containers/0/readinessProbe/httpGet/path", json!("/livez")), "readinessProbe"),
        ("services have a budget, probes, spread and no replicas", user("spec/template/spec/containers/0/ports/1/containerPort", json!(50071)), "port admin"),
        ("services have a budget, probes, spread and no replicas", Box::new(set("Service", "user-service", "spec/clusterIP", json!(null))), "headless"),
        ("memory is limited to what is requested, and CPU is not", user("spec/template/spec/containers/0/resources/limits/memory", json!("1Gi")), "memory"),
        ("memory is limited to what is requested, and CPU is not", user("spec/template/spec/containers/0/resources/limits/cpu", json!("1")), "CPU"),
        ("a pod has time to end", user("spec/template/spec/terminationGracePeriodSeconds", json!(48)), "needs Some(49s)"),
        ("a pod has time to end", Box::new(set("ConfigMap", "settings", "data/DRAIN_TIMEOUT", json!("26s"))), "needs Some(61s)"),
        ("a start has time to wait for its database", user("spec/template/spec/containers/0/startupProbe/failureThreshold", json!(30)), "may take 60s only"),
        ("databases have room for every pod", Box::new(set("ConfigMap", "order-service-settings", "data/POSTGRES_CONNECTIONS", json!("28"))), "PostgreSQL allows 400 connections of 596"),
        ("databases have room for every pod", Box::new(set("HorizontalPodAutoscaler", "user-service", "spec/maxReplicas", json!(20))), "MongoDB allows 2000"),
        ("databases have room for every pod", Box::new(set("ConfigMap", "settings", "data/REPLICAS", json!("10"))), "REPLICAS is"),
        ("pods end without a preStop, and none is missed meanwhile", user("spec/template/spec/containers/0/lifecycle", json!({"preStop": {"sleep": {"seconds": 5}}})), "hook"),
        ("pods end without a preStop, and none is missed meanwhile", user("spec/strategy/rollingUpdate/maxUnavailable", json!(1)), "before a new one is ready"),
        ("pods end without a preStop, and none is missed meanwhile", Box::new(set("ConfigMap", "settings", "data/DRAIN_DELAY", json!("0s"))), "DRAIN_DELAY"),
        ("pods end without a preStop, and none is missed meanwhile", user("spec/minReadySeconds", json!(10)), "before clients ask DNS again"),
        ("Jobs and images are of the release", user("spec/template/spec/containers/0/image", json!("user-service:latest")), "user-service:latest"),
        ("Jobs and images are of the release", Box::new(set("Job", "mongodb-roles", "metadata/name", json!("mongodb-roles"))), "does not end with"),
        ("Jobs and images are of the release", Box::new(set("Job", "user-service", "spec/template/spec/containers/0/envFrom", json!([{"configMapRef": {"name": "settings"}}]))), "settings that may change"),
        ("both ends of a connection allow it", Box::new(remove("NetworkPolicy", "order-service")), "may leave, and may not arrive"),
        ("both ends of a connection allow it", Box::new(set("NetworkPolicy", "session-service", "spec/egress", json!([]))), "may arrive, and may not leave"),
        ("nothing is allowed by default", Box::new(remove("NetworkPolicy", "nothing")), "no policy refuses"),
        ("nothing is allowed by default", Box::new(set("NetworkPolicy", "session-service", "spec/ingress/0/ports", json!(null))), "on every port"),
    ]
}

#[test]
fn a_manifest_that_breaks_a_rule_is_caught() {
    let Some(overlays) = Manifests::all("a_manifest_that_breaks_a_rule_is_caught") else { return };
    let production = overlays.last().expect("there is one");
    let cases = cases();
    for (rule, _) in RULES {
        assert!(cases.iter().any(|(broken, ..)| *broken == rule), "no case breaks the rule: {rule}");
    }
    for (rule, spoil, says) in cases {
        let mut spoiled = production.clone();
        spoil(&mut spoiled);
        let (_, broken) = RULES.iter().find(|(known, _)| *known == rule).expect("the rule is known");
        let found = broken(&spoiled);
        assert!(found.iter().any(|what| what.contains(says)), "{rule}: nothing says {says:?}: {found:?}");
    }
}
