//! Certificates for the overlay `test`, which has no cert-manager: what production asks of it, from an authority of our own.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use testkit::{Authority, Subject};
use time::Duration;
use types::{Clock as _, SystemClock};

use super::cluster::NAMESPACE;

/// An authority, and what it is to certify.
pub(super) struct Issuer {
    authority: Authority,
    /// By the Secret that its certificate goes to.
    subjects: Vec<(String, Subject)>,
}

impl Issuer {
    /// A new authority for the Certificates among production's manifests.
    pub(super) fn new(production: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(production).context("reading the manifests")?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).context("the manifests as YAML")?;
        let now = SystemClock.now();
        let certificates = objects.iter().filter(|object| object["kind"] == "Certificate");
        let subjects = certificates.map(|certificate| {
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
            Ok((spec["secretName"].as_str().context("a Certificate without secretName")?.to_owned(), subject))
        });
        Ok(Self { authority: Authority::new("tristore-trial")?, subjects: subjects.collect::<Result<_>>()? })
    }

    /// The authority's own certificate.
    pub(super) fn ca(&self) -> String {
        self.authority.pem()
    }

    /// The Secrets with new certificates for those whose Secret is wanted, as YAML.
    pub(super) fn secrets(&self, is_wanted: impl Fn(&str) -> bool) -> Result<String> {
        let mut made = String::new();
        for (name, subject) in self.subjects.iter().filter(|(name, _)| is_wanted(name)) {
            let issued = self.authority.issue(subject)?;
            let files = [("tls.crt", issued.certificate.as_str()), ("tls.key", issued.key.as_str())];
            object(&mut made, "Secret", NAMESPACE, name, "stringData", &files)?;
        }
        Ok(made)
    }
}

/// The `ConfigMap` by which a namespace trusts these authorities, as YAML.
pub(super) fn trust(namespace: &str, authorities: &str) -> Result<String> {
    let mut made = String::new();
    object(&mut made, "ConfigMap", namespace, "trust", "data", &[("ca.crt", authorities)])?;
    Ok(made)
}

/// A Secret or a `ConfigMap` with these files.
pub(super) fn object(
    made: &mut String,
    kind: &str,
    namespace: &str,
    name: &str,
    field: &str,
    files: &[(&str, &str)],
) -> Result<()> {
    writeln!(
        made,
        "---\napiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n{field}:"
    )?;
    for (file, content) in files {
        writeln!(made, "  {file}: |")?;
        for line in content.lines() {
            writeln!(made, "    {line}")?;
        }
    }
    Ok(())
}
