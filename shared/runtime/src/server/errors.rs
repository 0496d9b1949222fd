//! The error contract: whatever goes out as an error has the right code, a reason, the trace id, and no secret.
//!
//! Handlers answer with errors that lack only the server's domain and the trace ([`api::refusal::Refusal`]). The others
//! that are completed here come from tonic (malformed frames, unknown methods), from forgetful handlers, and from
//! ourselves.

use std::collections::HashMap;
use std::error::Error as _;
use std::time::Duration;

use api::codec::MALFORMED;
use api::common::v1::ErrorReason;
use api::refusal::{LOGGED, Reason as _, Refusal, logged};
use http::Response;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::telemetry;

/// When to come back to a server that goes away: at once, to another one.
const RETRY_ELSEWHERE: Duration = Duration::from_millis(100);
/// How gRPC's own retries are told to wait. They do not read RetryInfo.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
const INTERNAL: &str = "an internal error; report the request id";

/// Makes and completes the errors of one server.
#[derive(Debug)]
pub(super) struct Errors {
    pub(super) domain: &'static str,
    pub(super) message_size_max: usize,
}

impl Errors {
    fn refuse(&self, code: Code, reason: ErrorReason, message: impl Into<String>) -> Refusal {
        Refusal::new(code, &reason, message)
    }

    pub(super) fn message_too_large(&self, max: usize) -> Status {
        self.refuse(Code::ResourceExhausted, ErrorReason::MessageTooLarge, "the message is too long")
            .with("limit_bytes", max.to_string())
            .into_status()
    }

    pub(super) fn message_too_many(&self) -> Status {
        let message = "a call of this method has one message";
        self.refuse(Code::InvalidArgument, ErrorReason::MalformedMessage, message).into_status()
    }

    pub(super) fn bad_timeout(&self) -> Status {
        let message = "grpc-timeout is not 1 to 8 digits and a unit (H, M, S, m, u, n)";
        self.refuse(Code::InvalidArgument, ErrorReason::BadTimeout, message).into_status()
    }

    pub(super) fn deadline_exceeded(&self) -> Status {
        let message = "the time for the call is over; whether it took effect is unknown";
        self.refuse(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message).into_status()
    }

    /// `what` is `calls` or `streams`.
    pub(super) fn overloaded(&self, what: &'static str) -> Status {
        self.refuse(Code::ResourceExhausted, ErrorReason::Overloaded, "the server is busy")
            .quota(what, format!("too many {what} in progress, in all or from where this one comes"))
            .retry_after(Duration::from_secs(1))
            .into_status()
    }

    /// Nothing to log: that the server stops is in the log once, not once for each stream.
    pub(super) fn going_away(&self) -> Status {
        let refusal = self
            .refuse(Code::Unavailable, ErrorReason::DependencyUnavailable, "the server is going away")
            .retry_after(RETRY_ELSEWHERE);
        logged(refusal.into_status())
    }

    /// The panic hook has logged what and where.
    pub(super) fn panicked(&self) -> Status {
        tracing::error!("a call panicked");
        logged(self.refuse(Code::Internal, ErrorReason::Internal, INTERNAL).into_status())
    }

    fn malformed(&self, code: Code) -> Status {
        self.refuse(
            code,
            ErrorReason::MalformedMessage,
            "the bytes are not a message of the method's request type",
        )
        .into_status()
    }

    /// Completes an error and logs it. Runs inside the call's span.
    pub(super) fn complete(&self, status: Status) -> Status {
        let source = status.source().map(|source| crate::config::redact_url(&types::chain(source)));
        let mut status = self.corrected(status);
        let was_logged = status.metadata_mut().remove(LOGGED).is_some();
        log(&status, source.as_deref(), was_logged);
        let mut details = status.get_error_details();
        match details.error_info() {
            Some(info) if info.domain.is_empty() => {
                let info = info.clone();
                details.set_error_info(info.reason, self.domain, info.metadata);
            }
            Some(_) => {}
            None => {
                if let Some(reason) = common_reason(status.code()) {
                    details.set_error_info(reason.wire_name(), self.domain, HashMap::new());
                }
                // A handler that gives no reason may give away anything.
                if matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss) {
                    return with_request_info(Code::Internal, INTERNAL, details, &status);
                }
            }
        }
        let (code, message) = (status.code(), status.message().to_owned());
        with_request_info(code, message, details, &status)
    }

    /// tonic's own errors, told apart by their texts since they carry nothing else. A handler's error has
    /// details and is left as it is.
    fn corrected(&self, mut status: Status) -> Status {
        if status.metadata_mut().remove(MALFORMED).is_some() {
            return self.malformed(Code::InvalidArgument);
        }
        if !status.details().is_empty() {
            return status;
        }
        let message = status.message();
        match status.code() {
            Code::OutOfRange if message.contains("decoded message length too large") => {
                self.message_too_large(self.message_size_max)
            }
            Code::Internal if message.contains("compressed-flag but no grpc-encoding") => {
                logged(self.malformed(Code::Internal))
            }
            Code::Internal
                if message.starts_with("Unexpected EOF decoding stream")
                    || message == "Missing request message."
                    || message.contains("invalid compression flag") =>
            {
                self.malformed(Code::InvalidArgument)
            }
            // The connection, or the stream by a code that blames us, ended in the middle of the request: nobody hears
            // the answer, and nothing is wrong here.
            Code::Unknown | Code::Internal if message.contains("error reading a body from connection") => {
                Status::cancelled("the caller went away before its request was whole")
            }
            Code::Unimplemented if message.contains("compressed") => {
                let message = "messages are not compressed here";
                let refusal = self.refuse(Code::Unimplemented, ErrorReason::UnsupportedEncoding, message);
                let mut refusal = refusal.into_status();
                let accepted = status.metadata().get("grpc-accept-encoding").cloned();
                let accepted = accepted.unwrap_or(MetadataValue::from_static("identity"));
                refusal.metadata_mut().insert("grpc-accept-encoding", accepted);
                refusal
            }
            _ => status,
        }
    }
}

/// The reason for an error that was given none; `None` where no reason of `common.v1` fits.
fn common_reason(code: Code) -> Option<ErrorReason> {
    match code {
        Code::InvalidArgument => Some(ErrorReason::InvalidRequest),
        Code::DeadlineExceeded => Some(ErrorReason::DeadlineExceeded),
        Code::PermissionDenied => Some(ErrorReason::PermissionDenied),
        Code::Unauthenticated => Some(ErrorReason::InvalidCredentials),
        Code::ResourceExhausted => Some(ErrorReason::Overloaded),
        Code::Aborted => Some(ErrorReason::Contention),
        Code::Unimplemented => Some(ErrorReason::UnknownMethod),
        Code::Unavailable => Some(ErrorReason::DependencyUnavailable),
        Code::Internal | Code::Unknown | Code::DataLoss => Some(ErrorReason::Internal),
        Code::Ok
        | Code::Cancelled
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange => None,
    }
}

/// Takes the error out of a response that is one already in its head.
pub(super) fn split_error(mut response: Response<Body>) -> Result<Response<Body>, Status> {
    // tonic leaves the status itself there, with the cause that the headers do not have.
    if let Some(status) = response.extensions_mut().remove::<Status>() {
        return if status.code() == Code::Ok { Ok(response) } else { Err(status) };
    }
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(response),
    }
}

fn with_request_info(
    code: Code,
    message: impl Into<String>,
    mut details: ErrorDetails,
    old: &Status,
) -> Status {
    if details.request_info().is_none() {
        details.set_request_info(request_id(), "");
    }
    let mut metadata = old.metadata().clone();
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        metadata.insert(PUSHBACK, pushback(delay).into());
    }
    Status::with_error_details_and_metadata(code, message, details, metadata)
}

/// Milliseconds, rounded up so that nobody comes back too early, as the 32-bit number that clients read.
fn pushback(delay: Duration) -> i32 {
    i32::try_from(delay.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
}

/// The trace id; without a subscriber an id that at least the client can quote.
fn request_id() -> String {
    telemetry::trace_id().unwrap_or_else(|| format!("{:032x}", fastrand::u128(1..)))
}

fn log(status: &Status, source: Option<&str>, was_logged: bool) {
    let (code, error) = (status.code(), crate::config::redact_url(status.message()));
    match code {
        _ if was_logged => tracing::debug!(?code, error, "the call failed"),
        Code::Internal | Code::Unknown | Code::DataLoss => {
            tracing::error!(?code, error, source, "the call failed")
        }
        Code::Unavailable => tracing::warn!(?code, error, source, "the call failed"),
        _ => tracing::debug!(?code, error, source, "the call failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_says_when_to_come_back_says_it_to_grpcs_own_retries_too() {
        let errors = Errors { domain: "test", message_size_max: 1 };
        let pushback = |status| {
            let status = errors.complete(status);
            let value = status.metadata().get(PUSHBACK).map(|value| value.to_str().unwrap().to_owned());
            let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
            (value, delay)
        };
        let refused = |delay| {
            errors.refuse(Code::Unavailable, ErrorReason::Contention, "no").retry_after(delay).into_status()
        };
        for (delay, expected) in [
            (Duration::from_secs(1), "1000"),
            (Duration::from_micros(1), "1"),
            (Duration::ZERO, "0"),
            (Duration::from_secs(u64::from(u32::MAX)), "2147483647"),
        ] {
            assert_eq!(pushback(refused(delay)), (Some(expected.to_owned()), Some(delay)));
        }
        assert_eq!(pushback(errors.bad_timeout()), (None, None));
    }

    #[test]
    fn a_caller_that_goes_away_in_the_middle_of_its_request_is_no_defect_of_ours() {
        let errors = Errors { domain: "test", message_size_max: 1 };
        for code in [Code::Unknown, Code::Internal] {
            let torn = Status::new(code, "h2 protocol error: error reading a body from connection");
            assert_eq!(errors.complete(torn).code(), Code::Cancelled);
        }
        assert_eq!(errors.complete(Status::unknown("a defect")).code(), Code::Internal);
    }
}
