//! The one place where a handshake ends, and the one where the reading of new files does.

use std::io;
use std::sync::LazyLock;

use metrics::{Counter, Family, MeasuredGauge};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use time::OffsetDateTime;

use super::verifier::WrongId;

static HANDSHAKES: Family<Counter, 2> = Family::new(
    "tls_handshakes_total",
    "TLS handshakes, by what came of them.",
    ["side", "result"],
    2 * Handshake::ALL.len(),
);
static RELOADS: Family<Counter, 1> = Family::new(
    "tls_reloads_total",
    "How often changed files of certificates were read, by what came of it.",
    ["result"],
    2,
);
static NOT_AFTER: Family<MeasuredGauge, 0> = Family::new(
    "tls_not_after_timestamp_seconds",
    "When the own certificate ends, in seconds since 1970.",
    [],
    1,
);

static HANDSHAKES_ENDED: LazyLock<Vec<((Side, Handshake), Counter)>> = LazyLock::new(|| {
    let of = |side: Side| {
        Handshake::ALL.map(|result| ((side, result), HANDSHAKES.with([side.as_str(), result.as_str()])))
    };
    [Side::Server, Side::Client].into_iter().flat_map(of).collect()
});
static RELOADS_ENDED: LazyLock<[Counter; 2]> =
    LazyLock::new(|| [Reload::Ok, Reload::Failed].map(|result| RELOADS.with([result.as_str()])));

/// Tells of TLS from now on: of all that may come of it, and of when the certificate ends.
pub(super) fn measure(not_after: impl Fn() -> Option<OffsetDateTime> + Send + Sync + 'static) {
    LazyLock::force(&HANDSHAKES_ENDED);
    LazyLock::force(&RELOADS_ENDED);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far from 2^53")]
    NOT_AFTER.measure([], move || Some(not_after()?.unix_timestamp() as f64));
}

/// Which end of a connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Somebody has connected to us.
    Server,
    /// We have connected to a peer.
    Client,
}

impl Side {
    /// As a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// How a handshake has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// Well.
    Ok,
    /// The other side does not speak TLS.
    Plaintext,
    /// A certificate is of an authority that is not trusted.
    UnknownCa,
    /// A certificate has expired, or is not valid yet.
    Expired,
    /// A certificate is no good for another reason.
    BadCertificate,
    /// A certificate is genuine and not that of a service that is listed, or not of the one that is meant.
    UnlistedId,
    /// The server's certificate is for another DNS name or address.
    WrongName,
    /// The other side has not done its part in time.
    Timeout,
    /// Anything else: a connection that was lost, or no version or method that both sides know.
    Other,
}

impl Handshake {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Plaintext,
        Self::UnknownCa,
        Self::Expired,
        Self::BadCertificate,
        Self::UnlistedId,
        Self::WrongName,
        Self::Timeout,
        Self::Other,
    ];

    /// As a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Plaintext => "plaintext",
            Self::UnknownCa => "unknown_ca",
            Self::Expired => "expired",
            Self::BadCertificate => "bad_certificate",
            Self::UnlistedId => "unlisted_id",
            Self::WrongName => "wrong_name",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }

    /// What a failed handshake has failed of, as far as our side can tell: the other side says why in an alert.
    pub(super) fn of(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut {
            return Self::Timeout;
        }
        let Some(error) = error.get_ref() else { return Self::Other };
        if error.is::<WrongId>() {
            return Self::UnlistedId;
        }
        match error.downcast_ref::<Error>() {
            Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::Plaintext,
            Some(Error::InvalidCertificate(error)) => Self::of_certificate(error),
            Some(Error::AlertReceived(alert)) => Self::of_alert(*alert),
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            // A signature is bad when another authority bears the name of one that is trusted.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownCa,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Expired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            _ => Self::BadCertificate,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::UnknownCA => Self::UnknownCa,
            AlertDescription::CertificateExpired => Self::Expired,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied => Self::BadCertificate,
            _ => Self::Other,
        }
    }
}

/// Every handshake ends here. Whoever connects may make it fail as often as they like, so it is no line of the usual log.
pub(super) fn handshake_ended(side: Side, result: Handshake) {
    if let Some((_, counter)) = HANDSHAKES_ENDED.iter().find(|(known, _)| *known == (side, result)) {
        counter.increment();
    }
    tracing::debug!(side = side.as_str(), result = result.as_str(), "a TLS handshake has ended");
}

/// How the reading of files that have changed has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reload {
    /// They are in use.
    Ok,
    /// They cannot be used, and those before them stay.
    Failed,
}

impl Reload {
    /// As a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

/// Every reading of files that have changed ends here.
pub(super) fn reload_ended(result: Reload) {
    let [ok, failed] = &*RELOADS_ENDED;
    match result {
        Reload::Ok => ok.increment(),
        Reload::Failed => failed.increment(),
    }
    tracing::debug!(result = result.as_str(), "changed TLS files were read");
}
