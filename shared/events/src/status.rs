//! The statuses of the event services: the only file here that makes any. `source.rs` reads what a peer says.

use std::time::Duration;

use api::common::v1::ErrorReason as Common;
use api::event::v1::ErrorReason as Reason;
use api::refusal::{Reason as _, Refusal};
use api::violations::Violations;
use tonic::{Code, Status};
use tonic_types::FieldViolation;
use types::EventId;
use uuid::Uuid;

use crate::envelope::Position;
use crate::history::HistoryError;
use crate::store::StoreError;

const RETRY_AFTER: Duration = Duration::from_secs(1);
const NAME_MAX: usize = 100;

/// Builds the statuses of one service; `domain` as in every other status of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statuses {
    pub(crate) domain: &'static str,
}

impl Statuses {
    pub(crate) fn invalid(self, violations: Vec<FieldViolation>) -> Status {
        Refusal::new(Code::InvalidArgument, &Common::InvalidRequest, self.domain, "the request breaks rules")
            .bad_request(violations)
            .into_status()
    }

    pub(crate) fn history(self, stream: &str, error: HistoryError) -> Status {
        match error {
            HistoryError::StreamNotFound => Refusal::new(
                Code::NotFound,
                &Reason::StreamNotFound,
                self.domain,
                "this service has no such stream",
            )
            .resource("stream", stream)
            .into_status(),
            HistoryError::EpochChanged => self.epoch_changed(stream),
            HistoryError::Pruned { oldest } => self.pruned(oldest),
            HistoryError::Store(error) => self.store(&error),
        }
    }

    pub(crate) fn epoch_changed(self, stream: &str) -> Status {
        let message = "the stream has another history than the caller's; ask Resume";
        Refusal::new(Code::FailedPrecondition, &Reason::EpochChanged, self.domain, message)
            .precondition(stream, "the epoch and the position must be of the stream's history")
            .into_status()
    }

    fn pruned(self, oldest: Position) -> Status {
        let message = "the events there are pruned; rebuild from a snapshot";
        Refusal::new(Code::OutOfRange, &Reason::PositionPruned, self.domain, message)
            .with("oldest_position", oldest.to_string())
            .into_status()
    }

    pub(crate) fn slow_consumer(self, after: Position) -> Status {
        let message = "the stream was read too slowly; resume after the last position";
        Refusal::new(Code::ResourceExhausted, &Common::SlowConsumer, self.domain, message)
            .with("position", after.to_string())
            .quota("stream", "a message waited too long to be read")
            .into_status()
    }

    pub(crate) fn draining(self) -> Status {
        let message = "the server is shutting down; ask again";
        Refusal::new(Code::Unavailable, &Common::DependencyUnavailable, self.domain, message)
            .retry_after(RETRY_AFTER)
            .into_status()
    }

    pub(crate) fn consumer_not_found(self, consumer: &str) -> Status {
        let message = "no such consumer is registered";
        Refusal::new(Code::NotFound, &Reason::ConsumerNotFound, self.domain, message)
            .resource("consumer", consumer)
            .into_status()
    }

    pub(crate) fn event_not_found(self, event_id: EventId) -> Status {
        let message = "no committed event has this id";
        Refusal::new(Code::NotFound, &Reason::EventNotFound, self.domain, message)
            .resource("event", event_id.to_string())
            .into_status()
    }

    pub(crate) fn not_stamped_in_time(self) -> Status {
        let message = "the event has no position yet; ask again";
        Refusal::new(Code::DeadlineExceeded, &Common::DeadlineExceeded, self.domain, message).into_status()
    }

    pub(crate) fn parked_not_found(self, kind: &str, id: &str) -> Status {
        let message = "nothing is parked there";
        Refusal::new(Code::NotFound, &Reason::ParkedNotFound, self.domain, message)
            .resource(kind, id)
            .into_status()
    }

    pub(crate) fn request_id_reused(self) -> Status {
        let message = "this request_id was used before for another request";
        Refusal::new(Code::InvalidArgument, &Common::RequestIdReused, self.domain, message)
            .bad_request(vec![FieldViolation {
                field: "request_id".to_owned(),
                description: "must be new for a new request".to_owned(),
                reason: Common::RequestIdReused.wire_name().to_owned(),
                localized_message: None,
            }])
            .into_status()
    }

    pub(crate) fn resync_unsupported(self, consumer: &str) -> Status {
        let message = "this consumer cannot be rebuilt from a snapshot";
        Refusal::new(Code::FailedPrecondition, &Reason::ResyncUnsupported, self.domain, message)
            .precondition(consumer, "the effects of this consumer cannot be rebuilt")
            .into_status()
    }

    pub(crate) fn resync_in_progress(self, request_id: Uuid) -> Status {
        let message = "a resync of this consumer runs; repeat the request to hear its outcome";
        Refusal::new(Code::Unavailable, &Common::RequestInProgress, self.domain, message)
            .with("request_id", request_id.to_string())
            .retry_after(RETRY_AFTER)
            .into_status()
    }

    pub(crate) fn consumer_halted(self, consumer: &str, reason: &str) -> Status {
        let message = "the consumer is halted, and what is parked may not be applied; resync it";
        Refusal::new(Code::FailedPrecondition, &Reason::ConsumerHalted, self.domain, message)
            .with("halted_reason", reason)
            .precondition(
                consumer,
                "the consumer's history must be its producer's, and no resync may hold it",
            )
            .into_status()
    }

    pub(crate) fn still_failing(self, event_id: EventId, error: &str) -> Status {
        let message = "a parked event still fails";
        Refusal::new(Code::FailedPrecondition, &Reason::StillFailing, self.domain, message)
            .with("event_id", event_id.to_string())
            .with("error", error)
            .precondition(event_id.to_string(), "the event must be applicable")
            .into_status()
    }

    pub(crate) fn unavailable(self) -> Status {
        let message = "something that this needs does not answer now";
        Refusal::new(Code::Unavailable, &Common::DependencyUnavailable, self.domain, message)
            .retry_after(RETRY_AFTER)
            .into_status()
    }

    /// Told in full to the log, and to the caller only by its kind.
    pub(crate) fn store(self, error: &StoreError) -> Status {
        let chain = error as &dyn std::error::Error;
        match error {
            StoreError::Transient(_) => {
                tracing::warn!(error = chain, "an event call failed");
                self.unavailable()
            }
            StoreError::Permanent(_) => {
                tracing::error!(error = chain, "an event call failed");
                let message = "a defect; report the request id";
                Refusal::new(Code::Internal, &Common::Internal, self.domain, message).into_status()
            }
        }
    }
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
