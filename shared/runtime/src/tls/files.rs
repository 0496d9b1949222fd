//! The files: read together, checked together.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

use super::certificate::Certificate;

/// Where the files are.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// Our certificate and its key; a client need not have any.
    pub(super) own: Option<(PathBuf, PathBuf)>,
    pub(super) ca: PathBuf,
}

/// What stands in the files. It has a key in it, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    own: Option<(Vec<u8>, Vec<u8>)>,
    ca: Vec<u8>,
}

/// Our own certificate with its key.
pub(super) struct Own {
    pub(super) certificate: Certificate,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Contents that have been checked.
pub(super) struct Checked {
    pub(super) own: Option<Own>,
    pub(super) roots: Arc<RootCertStore>,
}

impl Files {
    pub(super) fn read(&self) -> anyhow::Result<Contents> {
        let read = |flag: &'static str, path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("{flag}: cannot read {}", path.display()))
        };
        let own = match &self.own {
            Some((certificate, key)) => {
                Some((read("--tls-certificate", certificate)?, read("--tls-key", key)?))
            }
            None => None,
        };
        Ok(Contents { own, ca: read("--tls-ca", &self.ca)? })
    }
}

impl Contents {
    /// Reads them as what they should be. Whether the key fits is checked when both are put to use.
    pub(super) fn check(&self, now: OffsetDateTime) -> anyhow::Result<Checked> {
        let own = match &self.own {
            Some((certificate, key)) => {
                let (certificate, chain) = own_certificate(certificate, now).context("--tls-certificate")?;
                // The error may quote the file, and so the key.
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| anyhow!("--tls-key: there is no private key in PEM form in it"))?;
                Some(Own { certificate, chain, key })
            }
            None => None,
        };
        Ok(Checked { own, roots: Arc::new(roots(&self.ca).context("--tls-ca")?) })
    }
}

fn own_certificate(
    pem: &[u8],
    now: OffsetDateTime,
) -> anyhow::Result<(Certificate, Vec<CertificateDer<'static>>)> {
    let chain = certificates(pem)?;
    let certificate = Certificate::of_chain(&chain)?;
    certificate.in_date(now)?;
    ensure!(
        certificate.id.is_some(),
        "the certificate has not exactly one URI, such as spiffe://trust.example/user-service, so that nobody would \
         know whose it is"
    );
    Ok((certificate, chain))
}

/// The authorities that are trusted: more than one while one is replaced by another.
fn roots(pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).context("has something that is no certificate of an authority")?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    // The error may quote the file, which is perhaps that of a key.
    let certificates = certificates.map_err(|_| anyhow!("is not a PEM file"))?;
    ensure!(!certificates.is_empty(), "has no certificate in it");
    Ok(certificates)
}
