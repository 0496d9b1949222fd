//! The statuses of the event services: the only file here that makes any. `source.rs` reads what a peer says.

use api::common::v1::ErrorReason as Common;
use api::event::v1::ErrorReason as Reason;
use api::refusal::{self, Refusal};
use api::violations::Violations;
use tonic::{Code, Status};
use types::{EventId, Failure, RETRY_AFTER};
use uuid::Uuid;

use crate::envelope::Position;
use crate::history::HistoryError;
use crate::store::StoreError;

const NAME_MAX: usize = 100;

pub(crate) fn history(stream: &str, error: HistoryError) -> Status {
    match error {
        HistoryError::StreamNotFound => {
            Refusal::new(Code::NotFound, &Reason::StreamNotFound, "this service has no such stream")
                .resource("stream", stream)
                .into_status()
        }
        HistoryError::EpochChanged => epoch_changed(stream),
        HistoryError::Pruned { oldest } => pruned(oldest),
        HistoryError::Store(error) => store(&error),
    }
}

pub(crate) fn epoch_changed(stream: &str) -> Status {
    let message = "the stream has another history than the caller's; ask Resume";
    Refusal::new(Code::FailedPrecondition, &Reason::EpochChanged, message)
        .precondition(stream, "the epoch and the position must be of the stream's history")
        .into_status()
}

fn pruned(oldest: Position) -> Status {
    let message = "the events there are pruned; rebuild from a snapshot";
    Refusal::new(Code::OutOfRange, &Reason::PositionPruned, message)
        .with("oldest_position", oldest.to_string())
        .into_status()
}

pub(crate) fn slow_consumer(after: Position) -> Status {
    let message = "the stream was read too slowly; resume after the last position";
    Refusal::new(Code::ResourceExhausted, &Common::SlowConsumer, message)
        .with("position", after.to_string())
        .quota("stream", "a message waited too long to be read")
        .into_status()
}

pub(crate) fn draining() -> Status {
    let message = "the server is shutting down; ask again";
    Refusal::new(Code::Unavailable, &Common::DependencyUnavailable, message)
        .retry_after(RETRY_AFTER)
        .into_status()
}

pub(crate) fn consumer_not_found(consumer: &str) -> Status {
    let message = "no such consumer is registered";
    Refusal::new(Code::NotFound, &Reason::ConsumerNotFound, message)
        .resource("consumer", consumer)
        .into_status()
}

pub(crate) fn event_not_found(event_id: EventId) -> Status {
    let message = "no committed event has this id";
    Refusal::new(Code::NotFound, &Reason::EventNotFound, message)
        .resource("event", event_id.to_string())
        .into_status()
}

pub(crate) fn not_stamped_in_time() -> Status {
    let message = "the event has no position yet; ask again";
    Refusal::new(Code::DeadlineExceeded, &Common::DeadlineExceeded, message).into_status()
}

pub(crate) fn parked_not_found(kind: &str, id: &str) -> Status {
    let message = "nothing is parked there";
    Refusal::new(Code::NotFound, &Reason::ParkedNotFound, message).resource(kind, id).into_status()
}

pub(crate) fn resync_unsupported(consumer: &str) -> Status {
    let message = "this consumer cannot be rebuilt from a snapshot";
    Refusal::new(Code::FailedPrecondition, &Reason::ResyncUnsupported, message)
        .precondition(consumer, "the effects of this consumer cannot be rebuilt")
        .into_status()
}

pub(crate) fn resync_in_progress(request_id: Uuid) -> Status {
    let message = "a resync of this consumer runs; repeat the request to hear its outcome";
    Refusal::new(Code::Unavailable, &Common::RequestInProgress, message)
        .with("request_id", request_id.to_string())
        .retry_after(RETRY_AFTER)
        .into_status()
}

pub(crate) fn consumer_halted(consumer: &str, reason: &str) -> Status {
    let message = "the consumer is halted, and what is parked may not be applied; resync it";
    Refusal::new(Code::FailedPrecondition, &Reason::ConsumerHalted, message)
        .with("halted_reason", reason)
        .precondition(consumer, "the consumer's history must be its producer's, and no resync may hold it")
        .into_status()
}

pub(crate) fn still_failing(event_id: EventId, error: &str) -> Status {
    let message = "a parked event still fails";
    Refusal::new(Code::FailedPrecondition, &Reason::StillFailing, message)
        .with("event_id", event_id.to_string())
        .with("error", error)
        .precondition(event_id.to_string(), "the event must be applicable")
        .into_status()
}

/// Something that the call needs does not answer.
pub(crate) fn unavailable() -> Status {
    refusal::logged(refusal::status(Failure::unavailable("logged where it was met")))
}

/// Logged here, since a status in the middle of a stream has no source.
pub(crate) fn store(error: &StoreError) -> Status {
    let chain = error as &dyn std::error::Error;
    let failure = match error {
        StoreError::Transient(_) => {
            tracing::warn!(error = chain, "the store did not answer an event call");
            Failure::unavailable("logged above")
        }
        StoreError::Permanent(_) => {
            tracing::error!(error = chain, "the store failed in an event call");
            Failure::internal("logged above")
        }
    };
    refusal::logged(refusal::status(failure))
}

/// The checks of the event services' requests.
pub(crate) trait EventViolations {
    /// A required short name: a stream, a consumer, an aggregate's type or id.
    fn name(&mut self, field: &str, text: &str) -> Option<String>;
    /// A required epoch.
    fn epoch(&mut self, field: &str, text: &str) -> Option<Uuid>;
    /// A position, which is never negative.
    fn position(&mut self, field: &str, position: Position) -> Option<Position>;
}

impl EventViolations for Violations {
    fn name(&mut self, field: &str, text: &str) -> Option<String> {
        self.line(field, text, NAME_MAX)
    }

    fn epoch(&mut self, field: &str, text: &str) -> Option<Uuid> {
        if text.is_empty() {
            self.add(field, "REQUIRED", "must be set");
            return None;
        }
        let hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
        let epoch = hyphenated.then(|| Uuid::try_parse(text).ok()).flatten();
        if epoch.is_none() {
            self.add(field, "INVALID_ID", "must be a UUID in its hyphenated form");
        }
        epoch
    }

    fn position(&mut self, field: &str, position: Position) -> Option<Position> {
        if position < 0 {
            self.add(field, "NEGATIVE", "must not be negative");
            return None;
        }
        Some(position)
    }
}
