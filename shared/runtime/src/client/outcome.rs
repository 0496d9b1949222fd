//! What a peer's answer says about whether the call took effect.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use api::common::v1::ErrorReason;
use api::refusal::Reason as _;
use tonic::{Code, ConnectError, Status};
use tonic_types::StatusExt as _;

/// Whether a call took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Happened,
    /// It did not take effect, and will not.
    DidNotHappen {
        /// The reason of ErrorInfo, or the code's name where there is none.
        reason: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
    /// It may have taken effect, or may still do so. Repeat the call with the same `request_id`, or ask the peer.
    Unknown {
        /// How long the peer asks to wait before the repeat.
        retry_after: Option<Duration>,
    },
}

/// Classifies a result.
pub fn outcome<T>(result: &Result<T, Status>) -> Outcome {
    result.as_ref().err().map_or(Outcome::Happened, classify)
}

/// Classifies an error.
#[must_use]
pub fn classify(status: &Status) -> Outcome {
    let did_not = |retryable| Outcome::DidNotHappen {
        reason: reason(status).unwrap_or_else(|| format!("{:?}", status.code())),
        retryable,
    };
    match status.code() {
        Code::Ok => Outcome::Happened,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => did_not(false),
        // Contention and full queues: the peer says that nothing changed.
        Code::Aborted | Code::ResourceExhausted => did_not(true),
        Code::Unavailable | Code::Cancelled if never_began(status) => did_not(true),
        Code::Unavailable
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::DataLoss => Outcome::Unknown { retry_after: retry_after(status) },
    }
}

/// The reason of ErrorInfo.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// The delay of RetryInfo.
pub(super) fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

/// Why a server did not look at a call that it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It goes away, and said so before it got to this call.
    Leaving,
    /// It has too many calls on this connection.
    Busy,
}

/// Whether the server certainly has not looked at the call that failed so, and why.
pub(super) fn refusal(error: &hyper::Error) -> Option<Refusal> {
    let error = http2_error(error).filter(|error| error.is_remote())?;
    if error.is_go_away() {
        // Calls with an id up to the last one that the server began do not fail by this.
        return Some(Refusal::Leaving);
    }
    (error.reason() == Some(h2::Reason::REFUSED_STREAM)).then_some(Refusal::Busy)
}

fn http2_error(error: &hyper::Error) -> Option<&h2::Error> {
    anyhow::Chain::new(error).find_map(|error| error.downcast_ref())
}

/// The error of a call that no server could take.
pub(super) fn never_sent(why: String) -> Status {
    let mut status = Status::unavailable(why.clone());
    status.set_source(Arc::new(ConnectError(why.into())));
    status
}

/// The error of a call that was sent, and that its server certainly has not looked at.
pub(super) fn never_began_at(error: hyper::Error) -> Status {
    let mut status = Status::unavailable("the server goes away, or is busy, and has not begun the call");
    status.set_source(Arc::new(ConnectError(error.into())));
    status
}

/// The error of a call that its server may have begun.
pub(super) fn failed(error: hyper::Error) -> Status {
    let is_lost = anyhow::Chain::new(&error).any(|cause| cause.is::<io::Error>())
        || http2_error(&error).is_some_and(h2::Error::is_go_away);
    // The last: it waited in a full connection, which ended.
    if is_lost || error.is_closed() || error.is_user() {
        // tonic says UNKNOWN, as if the server had said so.
        let mut status = Status::unavailable("the connection to the server was lost");
        status.set_source(Arc::new(error));
        return status;
    }
    Status::from_error(error.into())
}

/// Whether the call was never sent, or was refused before the handler ran.
pub(super) fn never_began(status: &Status) -> bool {
    let was_never_sent = anyhow::Chain::new(status).any(|error| {
        // Our own channel says it by the first of both. Of tonic's, hyper reports a request as cancelled when its
        // connection was lost before it was sent.
        error.is::<ConnectError>()
            || error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
    });
    let refused = ErrorReason::SessionStoreUnavailable.wire_name();
    was_never_sent || reason(status).is_some_and(|reason| reason == refused)
}

#[cfg(test)]
mod tests {
    use api::refusal::Refusal;

    use super::*;

    #[test]
    fn only_a_definite_refusal_did_not_happen() {
        let refusal = |code, reason: ErrorReason| Refusal::new(code, &reason, "no").into_status();
        assert_eq!(
            classify(&refusal(Code::Aborted, ErrorReason::Contention)),
            Outcome::DidNotHappen { reason: "CONTENTION".to_owned(), retryable: true }
        );
        assert_eq!(
            classify(&refusal(Code::Unavailable, ErrorReason::SessionStoreUnavailable)),
            Outcome::DidNotHappen { reason: "SESSION_STORE_UNAVAILABLE".to_owned(), retryable: true }
        );
        for status in [
            refusal(Code::Unavailable, ErrorReason::StorageUnavailable),
            refusal(Code::Unavailable, ErrorReason::RequestInProgress),
            Status::deadline_exceeded(""),
            Status::cancelled(""),
            Status::internal(""),
            Status::unknown(""),
        ] {
            assert_eq!(classify(&status), Outcome::Unknown { retry_after: None }, "{status:?}");
        }
        assert_eq!(outcome(&Ok::<_, Status>(())), Outcome::Happened);
    }
}
