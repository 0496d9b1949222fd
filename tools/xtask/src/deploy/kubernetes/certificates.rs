//! Certificates for the overlay `test`, which has no cert-manager: what production asks of it, from an authority of our own.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use testkit::{Authority, Subject};
use time::Duration;
use types::{Clock as _, SystemClock};

/// The bundle of trusted authorities, and the Secrets with certificates.
pub(super) struct Certificates {
    /// As YAML.
    pub(super) objects: String,
    /// The authority's own certificate.
    pub(super) ca: String,
}

impl Certificates {
    /// Those that the Certificates among production's manifests describe.
    pub(super) fn of(production: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(production).context("reading the manifests")?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).context("the manifests as YAML")?;
        let authority = Authority::new("tristore-trial")?;
        let now = SystemClock.now();
        let mut made = String::new();
        object(&mut made, "ConfigMap", "trust", "data", &[("ca.crt", &authority.pem())])?;
        for certificate in objects.iter().filter(|object| object["kind"] == "Certificate") {
            let spec = &certificate["spec"];
            let texts = |list: &Value| -> Vec<String> {
                let list = list.as_array().into_iter().flatten();
                list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
            };
            let subject = Subject {
                hosts: texts(&spec["dnsNames"]),
                uris: texts(&spec["uris"]),
                valid: (now - Duration::HOUR, now + Duration::DAY),
            };
            let issued = authority.issue(&subject)?;
            let name = spec["secretName"].as_str().context("a Certificate without secretName")?;
            let files = [("tls.crt", issued.certificate.as_str()), ("tls.key", issued.key.as_str())];
            object(&mut made, "Secret", name, "stringData", &files)?;
        }
        Ok(Self { objects: made, ca: authority.pem() })
    }
}

fn object(made: &mut String, kind: &str, name: &str, field: &str, files: &[(&str, &str)]) -> Result<()> {
    writeln!(
        made,
        "---\napiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: tristore}}\n{field}:"
    )?;
    for (file, content) in files {
        writeln!(made, "  {file}: |")?;
        for line in content.lines() {
            writeln!(made, "    {line}")?;
        }
    }
    Ok(())
}
