//! That what pods name is there: `ConfigMap`s in the manifests, Secrets in the README's table.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::manifests::{Manifests, Pod, list, text};
use crate::tables;

/// Not of these manifests: it comes from whoever runs the CA.
const TRUST: &str = "trust";
/// What the table says of a Secret that every overlay needs.
const EVERYWHERE: &str = "all";

/// The volumes that are made of a Secret, with its name.
pub(crate) fn secret_volumes<'a>(pod: &Pod<'a>) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let volumes = list(&pod.spec["volumes"]).iter().filter(|volume| volume["secret"].is_object());
    volumes.map(|volume| (text(&volume["name"]), text(&volume["secret"]["secretName"])))
}

/// The `ConfigMap`s that a pod names.
fn config_maps<'a>(pod: &Pod<'a>) -> Vec<&'a str> {
    let mut found: Vec<&Value> = Vec::new();
    for volume in list(&pod.spec["volumes"]) {
        found.push(&volume["configMap"]["name"]);
        found.extend(list(&volume["projected"]["sources"]).iter().map(|source| &source["configMap"]["name"]));
    }
    for container in pod.containers() {
        found.extend(list(&container["envFrom"]).iter().map(|from| &from["configMapRef"]["name"]));
    }
    found.into_iter().filter_map(Value::as_str).collect()
}

/// The Secrets of the README's table that this overlay needs, each with its keys.
pub(crate) fn told(manifests: &Manifests) -> Vec<(String, BTreeSet<String>)> {
    let rows = tables::rows("secrets");
    let here = rows.iter().filter(|row| row[2] == EVERYWHERE || row[2].contains(manifests.overlay.as_str()));
    here.flat_map(|row| {
        let keys: BTreeSet<String> = tables::names(&row[1]).collect();
        tables::names(&row[0]).map(move |secret| (secret, keys.clone()))
    })
    .collect()
}

/// The Secrets that anything here names.
fn named(manifests: &Manifests) -> BTreeSet<String> {
    let pods = manifests.pods();
    let mounted = pods.iter().flat_map(secret_volumes).map(|(_, secret)| secret.to_owned());
    // What operators and cert-manager are told of.
    let mut named: BTreeSet<String> = mounted.collect();
    for object in &manifests.objects {
        let spec = &object["spec"];
        let single = [
            &spec["ca"]["secretName"],
            &spec["secretName"],
            &spec["bootstrap"]["initdb"]["secret"]["name"],
            &spec["certificates"]["serverTLSSecret"],
            &spec["certificates"]["serverCASecret"],
            &spec["security"]["tls"]["certificateKeySecretRef"]["name"],
        ];
        let roles = list(&spec["managed"]["roles"]).iter().map(|role| &role["passwordSecret"]["name"]);
        let users = list(&spec["users"]).iter().map(|user| &user["passwordSecretRef"]["name"]);
        let all = single.into_iter().chain(roles).chain(users);
        named.extend(all.filter_map(Value::as_str).map(str::to_owned));
    }
    named
}

/// The Secrets that cert-manager makes.
fn made(manifests: &Manifests) -> BTreeSet<String> {
    manifests.of_kind("Certificate").map(|it| text(&it["spec"]["secretName"]).to_owned()).collect()
}

/// What pods name and nobody brings, and files of Secrets that are named and not in them.
pub(crate) fn missing(manifests: &Manifests) -> Vec<String> {
    let told = told(manifests);
    let made = made(manifests);
    let mut found = Vec::new();
    for secret in named(manifests) {
        if !made.contains(&secret) && !told.iter().any(|(name, _)| *name == secret) {
            found.push(format!("the README does not tell of Secret {secret}"));
        }
    }
    for pod in manifests.pods() {
        for map in config_maps(&pod) {
            if map != TRUST && !manifests.has("ConfigMap", map) {
                found.push(format!("{}: there is no ConfigMap {map}", pod.title()));
            }
        }
        let account = &pod.spec["serviceAccountName"];
        if account.as_str().is_some_and(|account| !manifests.has("ServiceAccount", account)) {
            found.push(format!("{}: there is no ServiceAccount {account}", pod.title()));
        }
        let brought = secret_volumes(&pod).filter(|(_, secret)| !made.contains(*secret));
        for (folder, secret) in brought.flat_map(|(volume, secret)| mounts(&pod, volume, secret)) {
            let keys: BTreeSet<&String> =
                told.iter().filter(|(name, _)| *name == secret).flat_map(|(_, keys)| keys).collect();
            let files = files_named(manifests, &pod).into_iter();
            for file in
                files.filter_map(|file| Some(file.strip_prefix(&folder)?.trim_start_matches('/').to_owned()))
            {
                if !keys.contains(&file) {
                    found.push(format!("{}: Secret {secret} has no key {file} in the README", pod.title()));
                }
            }
        }
        found.extend(unmounted(manifests, &pod));
    }
    found
}

/// Where a volume is in the containers of a pod.
fn mounts<'a>(pod: &Pod<'a>, volume: &str, secret: &'a str) -> Vec<(String, &'a str)> {
    let all = pod.containers().flat_map(|container| list(&container["volumeMounts"]));
    let ours: BTreeSet<String> = all
        .filter(|mount| mount["name"] == volume)
        .map(|mount| text(&mount["mountPath"]).to_owned())
        .collect();
    ours.into_iter().map(|folder| (folder, secret)).collect()
}

/// The files that the settings of a pod name.
fn files_named(manifests: &Manifests, pod: &Pod<'_>) -> Vec<String> {
    let settings = manifests.settings(pod.owner).into_iter().map(|(_, value)| value);
    let own = pod
        .containers()
        .flat_map(|container| list(&container["env"]))
        .map(|it| text(&it["value"]).to_owned());
    settings
        .chain(own)
        .filter_map(|value| {
            value
                .strip_prefix("file:")
                .map(str::to_owned)
                .or_else(|| value.starts_with("/run/").then_some(value))
        })
        .collect()
}

/// Files that settings name and that are in no folder that is mounted.
fn unmounted(manifests: &Manifests, pod: &Pod<'_>) -> Vec<String> {
    let folders: Vec<String> = pod
        .containers()
        .flat_map(|container| list(&container["volumeMounts"]))
        .map(|mount| format!("{}/", text(&mount["mountPath"])))
        .collect();
    let lost = files_named(manifests, pod)
        .into_iter()
        .filter(|file| !folders.iter().any(|folder| file.starts_with(folder)));
    lost.map(|file| format!("{}: {file} is not mounted", pod.title())).collect()
}

/// Secrets of the table that nothing in an overlay needs.
pub(crate) fn unused(manifests: &Manifests) -> Vec<String> {
    let named = named(manifests);
    let idle = told(manifests).into_iter().map(|(secret, _)| secret).filter(|secret| !named.contains(secret));
    let idle: BTreeSet<String> = idle.collect();
    idle.into_iter()
        .map(|secret| format!("nothing needs Secret {secret}, of which the README tells"))
        .collect()
}
