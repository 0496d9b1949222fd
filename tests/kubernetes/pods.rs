//! How pods are made: what they may do, what they get, and how Kubernetes knows how they are.

use serde_json::{Value, json};

use crate::manifests::{Manifests, Pod, list, name, selects, text};

/// What runs, in words: `Deployment user-service, container service`.
fn called(pod: &Pod<'_>, container: &Value) -> String {
    format!("{}, container {}", pod.title(), text(&container["name"]))
}

/// Every container with what is wrong with it.
fn wrong(manifests: &Manifests, look: impl Fn(&Pod<'_>, &Value) -> Vec<String>) -> Vec<String> {
    let pods = manifests.pods();
    let all = pods.iter().flat_map(|pod| pod.containers().map(move |container| (pod, container)));
    all.flat_map(|(pod, container)| {
        let title = called(pod, container);
        look(pod, container).into_iter().map(move |what| format!("{title}: {what}"))
    })
    .collect()
}

/// Pods that do not keep the profile `restricted`, or that may write to their root file system.
pub(crate) fn unrestricted(manifests: &Manifests) -> Vec<String> {
    let mut found = wrong(manifests, |pod, container| {
        let own = &container["securityContext"];
        let pods = &pod.spec["securityContext"];
        let either = |key: &str| if own[key].is_null() { pods[key].clone() } else { own[key].clone() };
        let wanted = [
            ("allowPrivilegeEscalation", own["allowPrivilegeEscalation"].clone(), json!(false)),
            ("readOnlyRootFilesystem", own["readOnlyRootFilesystem"].clone(), json!(true)),
            ("capabilities", own["capabilities"].clone(), json!({"drop": ["ALL"]})),
            ("runAsNonRoot", either("runAsNonRoot"), json!(true)),
            ("seccompProfile", either("seccompProfile"), json!({"type": "RuntimeDefault"})),
        ];
        let differ = wanted.into_iter().filter(|(_, is, must)| is != must);
        differ.map(|(key, is, must)| format!("{key} is {is} and must be {must}")).collect()
    });
    let labels =
        &manifests.named("Namespace", "tristore").map_or(Value::Null, |it| it["metadata"]["labels"].clone());
    if labels["pod-security.kubernetes.io/enforce"] != "restricted" {
        found.push("the namespace does not enforce `restricted`".to_owned());
    }
    found
}

/// Pods that may speak to the API of Kubernetes, and those that get variables of its Services.
pub(crate) fn with_token(manifests: &Manifests) -> Vec<String> {
    let flags = ["automountServiceAccountToken", "enableServiceLinks"];
    let pods = manifests.pods();
    let of_pods = pods.iter().flat_map(|pod| {
        let on = flags.iter().filter(|flag| pod.spec[**flag] != false);
        on.map(|flag| format!("{}: {flag} is not false", pod.title())).collect::<Vec<_>>()
    });
    let accounts = manifests.of_kind("ServiceAccount");
    let accounts = accounts.filter(|account| account["automountServiceAccountToken"] != false);
    of_pods.chain(accounts.map(|account| format!("ServiceAccount {} has a token", name(account)))).collect()
}

/// Containers that get a secret as a variable, where a crash report or a child shows it, or as a file that never changes.
pub(crate) fn with_exposed_secret(manifests: &Manifests) -> Vec<String> {
    let mut found = wrong(manifests, |_, container| {
        let variables = list(&container["env"]).iter().chain(list(&container["envFrom"]));
        let of_secrets =
            variables.filter(|it| it["secretRef"].is_object() || it["valueFrom"]["secretKeyRef"].is_object());
        let of_parts = list(&container["volumeMounts"]).iter().filter(|it| !it["subPath"].is_null());
        let secret = |it: &Value| format!("a variable is of a Secret: {it}");
        let part = |it: &Value| format!("a file is mounted by itself: {it}");
        of_secrets.map(secret).chain(of_parts.map(part)).collect()
    });
    // A password in a ConfigMap would be one in the environment.
    for map in manifests.of_kind("ConfigMap") {
        for (key, value) in map["data"].as_object().into_iter().flatten() {
            let value = text(value);
            let is_address =
                ["mongodb://", "postgres://", "redis://", "rediss://"].iter().any(|it| value.contains(it));
            let is_secret = key.starts_with("SERVICE_TOKEN") || (key.ends_with("_URL") && is_address);
            if is_secret && !value.starts_with("file:") {
                found.push(format!("ConfigMap {}: {key} is not `file:<path>`", name(map)));
            }
        }
    }
    found
        .extend(manifests.of_kind("Secret").map(|secret| format!("Secret {} is written down", name(secret))));
    found
}

/// Services without what keeps them answering while pods come and go.
pub(crate) fn unready(manifests: &Manifests) -> Vec<String> {
    let mut found = Vec::new();
    for service in manifests.services() {
        let title = name(service);
        let labels = &service["spec"]["template"]["metadata"]["labels"];
        let pod = &service["spec"]["template"]["spec"];
        let mut must = |holds: bool, what: &str| {
            if !holds {
                found.push(format!("{title}: {what}"));
            }
        };
        let budgets: Vec<_> = manifests
            .of_kind("PodDisruptionBudget")
            .filter(|it| selects(&it["spec"]["selector"], labels))
            .collect();
        must(matches!(&budgets[..], [one] if one["spec"]["maxUnavailable"] == 1), "no budget of one pod");
        let scaled = |it: &&Value| {
            it["spec"]["scaleTargetRef"]
                == json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": title})
        };
        must(manifests.of_kind("HorizontalPodAutoscaler").filter(scaled).count() == 1, "not one autoscaler");
        must(service["spec"]["replicas"].is_null(), "has `replicas` beside its autoscaler");
        let spread: Vec<&str> = list(&pod["topologySpreadConstraints"])
            .iter()
            .filter(|it| {
                selects(&it["labelSelector"], labels) && it["labelSelector"]["matchLabels"].is_object()
            })
            .map(|it| text(&it["topologyKey"]))
            .collect();
        must(
            spread == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"],
            "is not spread over zones and nodes",
        );
        let container = &pod["containers"][0];
        for (probe, path) in
            [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
        {
            let asks = &container[probe]["httpGet"];
            must(asks["path"] == path && asks["port"] == "admin", &format!("{probe} does not ask {path}"));
        }
        let admin = manifests.setting(service, "ADMIN_LISTEN").unwrap_or_default();
        for (port, address) in
            [("admin", admin), ("grpc", manifests.setting(service, "LISTEN").unwrap_or_default())]
        {
            let has =
                |it: &Value| it["name"] == port && address == format!("0.0.0.0:{}", it["containerPort"]);
            must(list(&container["ports"]).iter().any(has), &format!("port {port} is not where it listens"));
        }
        let headless = manifests.named("Service", title).is_some_and(|it| {
            let selector = json!({"matchLabels": it["spec"]["selector"]});
            it["spec"]["clusterIP"] == "None" && selects(&selector, labels)
        });
        must(headless, "no headless Service leads to it");
    }
    found
}

/// Containers that may take memory that nobody has set aside for them, and those whose CPU is limited.
pub(crate) fn without_memory(manifests: &Manifests) -> Vec<String> {
    wrong(manifests, |_, container| {
        let resources = &container["resources"];
        let memory = &resources["limits"]["memory"];
        let mut found = Vec::new();
        if !memory.is_string() || *memory != resources["requests"]["memory"] {
            found.push("the limit of memory is not what is requested".to_owned());
        }
        if !resources["limits"]["cpu"].is_null() {
            found.push("CPU is limited".to_owned());
        }
        found
    })
}
