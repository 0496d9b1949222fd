//! Whether a server is the service that is meant: genuine, of the right name, and with that service's id. It is asked in
//! the middle of the handshake, before the server has heard anything of ours, our certificate included.

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::certificate::Certificate;
use super::{PeerIds, SpiffeId};

/// The server's certificate is genuine, and another service's.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the certificate is not that of {meant}: {}", described(found.as_ref()))]
pub(super) struct WrongId {
    meant: String,
    found: Option<SpiffeId>,
}

impl WrongId {
    /// What rustls says of a server that [`PeerVerifier`] does not admit, in the words of this error where it is the
    /// reason.
    pub(super) fn told(error: io::Error) -> io::Error {
        match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
                match other.downcast_ref::<Self>() {
                    Some(wrong) => io::Error::new(error.kind(), wrong.clone()),
                    None => error,
                }
            }
            _ => error,
        }
    }
}

fn described(found: Option<&SpiffeId>) -> String {
    found.map_or_else(|| "it has no id, or more than one".to_owned(), |id| format!("its id is {id}"))
}

/// Admits the servers of one service.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    pub(super) authentic: Arc<WebPkiServerVerifier>,
    pub(super) ids: PeerIds,
    /// The service's name, such as `user-service`.
    pub(super) service: String,
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.authentic.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let certificate = Certificate::of_chain(std::slice::from_ref(end_entity))
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if certificate.id.as_ref().is_some_and(|id| self.ids.is_of(id, &self.service)) {
            return Ok(verified);
        }
        let wrong = WrongId { meant: self.service.clone(), found: certificate.id };
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(wrong)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authentic.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authentic.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authentic.supported_verify_schemes()
    }
}
