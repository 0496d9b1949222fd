//! Each service reads the settings that its pods get, with the Secrets that `secrets.sh` makes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde_json::Value;
use testkit::Profile;
use testkit::state::workspace;
use tests::build;
use uuid::Uuid;

use crate::manifests::{Manifests, list, name, text};
use crate::references;

/// The Secrets that `secrets.sh` makes for an overlay, each with what its keys hold.
fn secrets(overlay: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let script = workspace().join("deploy/secrets.sh");
    let output = testkit::tool("sh").arg(script).arg(overlay).output().expect("a shell runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = Manifests::parse(overlay, &String::from_utf8(output.stdout).expect("text"));
    let data = |secret: &Value| {
        let data = secret["stringData"].as_object().into_iter().flatten();
        data.map(|(key, value)| (key.clone(), text(value).to_owned())).collect()
    };
    printed.of_kind("Secret").map(|secret| (name(secret).to_owned(), data(secret))).collect()
}

#[test]
fn secrets_sh_makes_what_the_readme_lists() {
    let Some(overlays) = Manifests::all("secrets_sh_makes_what_the_readme_lists") else { return };
    for manifests in overlays.iter().filter(|manifests| manifests.overlay != "production") {
        let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (secret, keys) in references::told(manifests) {
            listed.entry(secret).or_default().extend(keys);
        }
        // Certificates are made by whoever has the CA.
        listed.retain(|secret, _| !secret.ends_with("-tls"));
        let made = secrets(&manifests.overlay).into_iter();
        let made: BTreeMap<String, BTreeSet<String>> =
            made.map(|(secret, data)| (secret, data.into_keys().collect())).collect();
        assert_eq!(made, listed, "{}", manifests.overlay);
    }
}

/// The folders of a pod, in a folder of this machine.
struct Mounted {
    root: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // It holds made-up secrets; one that stays behind harms nobody.
        let _stays = std::fs::remove_dir_all(&self.root);
    }
}

impl Mounted {
    /// What a pod of this service finds in the volumes that its container mounts.
    fn of(service: &Value, secrets: &BTreeMap<String, BTreeMap<String, String>>) -> Result<Self> {
        let mounted = Self { root: std::env::temp_dir().join(format!("tristore-pod-{}", Uuid::new_v4())) };
        let certificates = certificates(name(service))?;
        let pod = &service["spec"]["template"]["spec"];
        for mount in list(&pod["containers"][0]["volumeMounts"]) {
            let volume = list(&pod["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
            let volume = volume.with_context(|| format!("there is no volume {}", mount["name"]))?;
            let secret = text(&volume["secret"]["secretName"]);
            let files = match secret {
                "" if volume["configMap"]["name"] == "trust" => certificates["trust"].clone(),
                tls if tls.ends_with("-tls") => certificates["own"].clone(),
                secret => {
                    secrets.get(secret).with_context(|| format!("there is no Secret {secret}"))?.clone()
                }
            };
            let folder = mounted.path(text(&mount["mountPath"]));
            std::fs::create_dir_all(&folder)?;
            for (file, content) in files {
                // An address may name the authorities that its server's certificate is checked by.
                let content =
                    content.replace("=/run/tls/", &format!("={}/", mounted.path("/run/tls").display()));
                std::fs::write(folder.join(file), content)?;
            }
        }
        Ok(mounted)
    }

    /// Where a path of the pod is.
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A setting, for the folders of this machine.
    fn setting(&self, value: &str) -> String {
        let here = |path: &str| -> String { Path::new(&self.path(path)).display().to_string() };
        match value.strip_prefix("file:") {
            Some(path) => format!("file:{}", here(path)),
            None if value.starts_with("/run/") => here(value),
            None => value.to_owned(),
        }
    }
}

/// A certificate of this service, and the CA that signs it.
fn certificates(service: &str) -> Result<BTreeMap<&'static str, BTreeMap<String, String>>> {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let mut own = CertificateParams::new([service.to_owned()])?;
    let id = format!("spiffe://tristore.internal/ns/tristore/sa/{service}");
    own.subject_alt_names.push(SanType::URI(id.try_into()?));
    let key = KeyPair::generate()?;
    let own = own.signed_by(&key, &ca)?;
    let files = |files: &[(&str, String)]| -> BTreeMap<String, String> {
        files.iter().map(|(file, content)| ((*file).to_owned(), content.clone())).collect()
    };
    Ok(BTreeMap::from([
        ("trust", files(&[("ca.crt", ca.pem())])),
        ("own", files(&[("tls.crt", own.pem()), ("tls.key", key.serialize_pem())])),
    ]))
}

/// What a service of these manifests says of the configuration that it starts with.
async fn effective(manifests: &Manifests, service: &Value, pod: &Mounted) -> Result<Value> {
    let args = list(&service["spec"]["template"]["spec"]["containers"][0]["args"]);
    let args: Vec<&str> = args.iter().map(text).collect();
    let settings = manifests.settings(service).into_iter().map(|(key, value)| (key, pod.setting(&value)));
    tests::settings::effective(name(service), &args, settings).await
}

/// Claim: each service accepts the settings that the manifests give it, and takes them as they are meant.
#[tokio::test]
async fn services_read_their_settings() -> Result<()> {
    let Some(overlays) = Manifests::all("services_read_their_settings") else { return Ok(()) };
    build(Profile::own()).await?;
    for manifests in &overlays {
        // In production others make the Secrets; the settings are those of `test`.
        let made_for = if manifests.overlay == "production" { "test" } else { &manifests.overlay };
        let secrets = secrets(made_for);
        for service in manifests.services() {
            let what = format!("{} of {}", name(service), manifests.overlay);
            let pod = Mounted::of(service, &secrets).with_context(|| what.clone())?;
            let config = effective(manifests, service, &pod).await.with_context(|| what.clone())?;
            let server = if config["server"].is_object() { &config["server"] } else { &config };
            ensure!(server["drain_delay"] == "5s" && server["threads"] == 2, "{what}: {config}");
        }
    }
    Ok(())
}
