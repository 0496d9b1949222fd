//! Certificates for tests and for local systems, made anew each time.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::renewed_file::put;

/// An authority that issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a certificate says. It is valid from an hour ago to an hour from now unless it says otherwise.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The DNS names and IP addresses of a server.
    pub hosts: Vec<String>,
    /// Its URIs, which say whose it is.
    pub uris: Vec<String>,
    /// The first and the last moment when it is valid.
    pub valid: (OffsetDateTime, OffsetDateTime),
}

/// A certificate with its key, both as PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// A folder with the three files that a service reads.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities that are trusted.
    pub ca: PathBuf,
}

impl Authority {
    /// A new one of this name.
    ///
    /// # Errors
    /// When its key or certificate cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("making a key")?;
        Ok(Self(CertifiedIssuer::self_signed(params, key).context("making an authority")?))
    }

    /// Its own certificate as PEM, for those who trust it.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for a server and a client.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate, or a key cannot be made.
    pub fn issue(&self, subject: &Subject) -> Result<Issued> {
        let mut params = CertificateParams::new(subject.hosts.clone()).context("reading the hosts")?;
        for uri in &subject.uris {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().context("reading a URI")?));
        }
        (params.not_before, params.not_after) = subject.valid;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().context("making a key")?;
        let certificate = params.signed_by(&key, &self.0).context("issuing a certificate")?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issued(..)")
    }
}

impl Subject {
    /// A service on this machine, with this URI, at this time.
    #[must_use]
    pub fn local(uri: &str, now: OffsetDateTime) -> Self {
        Self {
            hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            uris: vec![uri.to_owned()],
            valid: (now - Duration::HOUR, now + Duration::HOUR),
        }
    }
}

impl TlsFiles {
    /// Writes them to this folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(folder: &Path, issued: &Issued, ca: &str) -> Result<Self> {
        let files = Self {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            ca: folder.join("ca.crt"),
        };
        files.replace(issued)?;
        files.replace_ca(ca)?;
        Ok(files)
    }

    /// Puts another certificate in place of the present one.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn replace(&self, issued: &Issued) -> Result<()> {
        put(&self.certificate, &issued.certificate)?;
        put(&self.key, &issued.key)
    }

    /// Trusts these authorities instead of the present ones.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn replace_ca(&self, ca: &str) -> Result<()> {
        put(&self.ca, ca)
    }
}
