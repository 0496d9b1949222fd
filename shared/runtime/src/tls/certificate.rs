//! What a certificate says of itself. Whether it is to be believed is decided by rustls, before or after.

use anyhow::{Context as _, ensure};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::SpiffeId;

/// The end of a chain of certificates, with the dates between which the whole chain is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The id that it gives its holder; `None` when it gives none, or more than one.
    pub(super) id: Option<SpiffeId>,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
}

impl Certificate {
    /// Reads a chain, whose first certificate is the holder's own.
    pub(super) fn of_chain(chain: &[CertificateDer<'_>]) -> anyhow::Result<Self> {
        let (own, others) = chain.split_first().context("has no certificate in it")?;
        let mut certificate = Self::read(own)?;
        for other in others {
            let other = Self::read(other)?;
            certificate.not_before = certificate.not_before.max(other.not_before);
            certificate.not_after = certificate.not_after.min(other.not_after);
        }
        Ok(certificate)
    }

    /// Refuses one that is not valid at this time.
    pub(super) fn in_date(&self, now: OffsetDateTime) -> anyhow::Result<()> {
        ensure!(now >= self.not_before, "the certificate is not valid before {}", self.not_before);
        ensure!(now < self.not_after, "the certificate has expired at {}", self.not_after);
        Ok(())
    }

    fn read(der: &CertificateDer<'_>) -> anyhow::Result<Self> {
        let (rest, certificate) =
            X509Certificate::from_der(der).context("has something that is no certificate")?;
        ensure!(rest.is_empty(), "has bytes behind a certificate");
        let validity = certificate.validity();
        let names = certificate.subject_alternative_name().context("has names that cannot be read")?;
        let names = names.map(|names| &names.value.general_names[..]).unwrap_or_default();
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let id = match (uris.next(), uris.next()) {
            (Some(uri), None) => uri.parse().ok(),
            _ => None,
        };
        Ok(Self {
            id,
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
        })
    }
}
