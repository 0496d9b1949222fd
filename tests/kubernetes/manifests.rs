//! What kustomize makes of an overlay, and where to find things in it.

use std::path::PathBuf;

use serde_json::Value;
use testkit::state::workspace;
use tests::tool;

/// The overlays, by the names of their folders.
pub(crate) const OVERLAYS: [&str; 3] = ["development", "test", "production"];

/// The objects of one overlay.
#[derive(Debug, Clone)]
pub(crate) struct Manifests {
    /// The overlay's name.
    pub(crate) overlay: String,
    pub(crate) objects: Vec<Value>,
}

/// A pod that something makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pod<'a> {
    /// What makes it.
    pub(crate) owner: &'a Value,
    pub(crate) labels: &'a Value,
    pub(crate) spec: &'a Value,
}

/// The folder of the manifests.
pub(crate) fn folder() -> PathBuf {
    workspace().join("deploy/kubernetes")
}

impl Manifests {
    /// All overlays; `None` where kustomize is missing and the test is skipped.
    pub(crate) fn all(test: &str) -> Option<Vec<Self>> {
        let kustomize = tool::find("kustomize", test)?;
        let of = |overlay: &str| {
            let path = folder().join("overlays").join(overlay);
            let output = testkit::tool(&kustomize).arg("build").arg(path).output().expect("kustomize runs");
            assert!(output.status.success(), "{overlay}: {}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).expect("manifests are text");
            Self::parse(overlay, &text)
        };
        Some(OVERLAYS.iter().map(|overlay| of(overlay)).collect())
    }

    /// The objects of documents in YAML.
    pub(crate) fn parse(overlay: &str, text: &str) -> Self {
        let objects = serde_saphyr::from_multiple(text).expect("manifests are YAML");
        Self { overlay: overlay.to_owned(), objects }
    }

    /// Of one kind.
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// The one of this kind and name.
    pub(crate) fn named(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind && self::name(object) == name)
    }

    /// Whether there is one.
    pub(crate) fn has(&self, kind: &str, name: &str) -> bool {
        self.named(kind, name).is_some()
    }

    /// The services' Deployments.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Value> {
        self.of_kind("Deployment").filter(|object| component(object) == "service")
    }

    /// Every pod whose template is written here. Operators make others, of their own objects.
    pub(crate) fn pods<'a>(&'a self) -> Vec<Pod<'a>> {
        let is_owner = |object: &&Value| object["spec"]["template"]["spec"].is_object();
        let pod = |owner: &'a Value| {
            let template: &Value = &owner["spec"]["template"];
            Pod { owner, labels: &template["metadata"]["labels"], spec: &template["spec"] }
        };
        self.objects.iter().filter(is_owner).map(pod).collect()
    }

    /// A setting of a service, as its pods see it: of two maps, the later one counts.
    pub(crate) fn setting(&self, service: &Value, variable: &str) -> Option<String> {
        self.settings(service).into_iter().rev().find(|(name, _)| name == variable).map(|(_, value)| value)
    }

    /// All settings of a service.
    pub(crate) fn settings(&self, service: &Value) -> Vec<(String, String)> {
        let container = &service["spec"]["template"]["spec"]["containers"][0];
        let maps =
            list(&container["envFrom"]).iter().filter_map(|from| from["configMapRef"]["name"].as_str());
        let data = maps.filter_map(|map| self.named("ConfigMap", map)?["data"].as_object());
        data.flatten().map(|(name, value)| (name.clone(), text(value).to_owned())).collect()
    }
}

impl<'a> Pod<'a> {
    /// `Job user-service-migration-1`.
    pub(crate) fn title(&self) -> String {
        title(self.owner)
    }

    /// Those that run, and those that run before.
    pub(crate) fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        list(&self.spec["initContainers"]).iter().chain(list(&self.spec["containers"]))
    }
}

/// `Deployment user-service`.
pub(crate) fn title(object: &Value) -> String {
    format!("{} {}", text(&object["kind"]), name(object))
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

/// What part of the system an object is.
pub(crate) fn component(object: &Value) -> &str {
    text(&object["metadata"]["labels"]["app.kubernetes.io/component"])
}

/// A text; empty where there is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A list; empty where there is none.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Whether everything that a selector asks for is among the labels. One that asks for nothing selects everything.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object();
    wanted.is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}
