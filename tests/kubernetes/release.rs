//! One release: the version of the workspace, of the images and of the Jobs.

use testkit::state::workspace;

use crate::manifests::{Manifests, Pod, component, list, name, text};

/// The version of the workspace.
fn version() -> String {
    let manifest = std::fs::read_to_string(workspace().join("Cargo.toml")).expect("the manifest can be read");
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = ")).expect("it has a version");
    line.trim_matches('"').to_owned()
}

/// Jobs and images that are not of the release, and Jobs that a changed setting would change: the API refuses that.
pub(crate) fn of_another_release(manifests: &Manifests) -> Vec<String> {
    let version = version();
    let suffix = format!("-{}", version.replace('.', "-"));
    let mut found = Vec::new();
    for pod in manifests.pods() {
        let is_ours = ["service", "migration"].contains(&component(pod.owner));
        let images = pod.containers().map(|container| text(&container["image"]));
        let other = images.filter(|image| is_ours && !image.ends_with(&format!(":{version}")));
        found.extend(other.map(|image| format!("{}: {image} is not of release {version}", pod.title())));
        if pod.owner["kind"] == "Job" {
            found.extend(wrong_with_job(&pod, &suffix));
        }
    }
    found
}

fn wrong_with_job(job: &Pod<'_>, suffix: &str) -> Vec<String> {
    let mut found = Vec::new();
    let title = job.title();
    if !name(job.owner).ends_with(suffix) {
        found.push(format!("{title}: its name does not end with {suffix}"));
    }
    if job.owner["spec"]["ttlSecondsAfterFinished"].is_null() {
        found.push(format!("{title}: nobody removes it"));
    }
    if job.containers().any(|container| !list(&container["envFrom"]).is_empty()) {
        found.push(format!("{title}: it takes settings that may change"));
    }
    // Kustomize ends the name of what it hashes with ten letters and digits.
    let volumes = list(&job.spec["volumes"]).iter().map(|volume| text(&volume["configMap"]["name"]));
    let hashed = volumes.filter(|map| map.rsplit('-').next().is_some_and(|end| end.len() == 10));
    found
        .extend(hashed.map(|map| format!("{title}: the name of ConfigMap {map} changes with what is in it")));
    found
}
