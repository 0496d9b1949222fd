//! `event.v1.EventAdminService` over the consumers of one service. Each skip and each resync writes an audit line: a
//! structured log line with `audit = true`. The repeat of a skip writes it again with the same `request_id`, because it
//! is not known whether the first call came so far. Skips are also recorded in the consumer's database, with who and
//! why.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api::call::Rpc as _;
use api::event::v1::event_admin_service_server::{EventAdminService, EventAdminServiceServer};
use api::event::v1::{
    ConsumerState, GetConsumersRequest, GetConsumersResponse, ListParkedRequest, ListParkedResponse,
    ParkedEvent, ResyncRequest, ResyncResponse, RetryParkedRequest, RetryParkedResponse, SkipParkedRequest,
    SkipParkedResponse,
};
use api::page_token;
use api::refusal;
use api::violations::{self, Violations};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Extensions, Request, Response, Status};
use types::{EventId, Failure};

use crate::admin::{AdminError, ConsumerAdmin};
use crate::cloud_event::encode;
use crate::envelope::Aggregate;
use crate::resync_jobs::{Joined, Resyncs};
use crate::status::{self, EventViolations as _};
use crate::store::{ConsumerId, Parked, Skip, Standing};

const JUSTIFICATION_MAX: usize = 500;
/// About how long a page may be; gRPC clients refuse more than 4 MiB.
const PAGE_BYTES: usize = 1 << 20;
/// How long a call waits for a resync to end, which is shorter than the deadline of any server. The resync goes on.
const RESYNC_WAIT: Duration = Duration::from_secs(3);

/// Serves the consumers of one service.
#[derive(Clone)]
pub struct EventAdminServer {
    consumers: Vec<Arc<dyn ConsumerAdmin>>,
    caller: fn(&Extensions) -> String,
    resyncs: Resyncs,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl fmt::Debug for EventAdminServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.consumers.iter().map(|consumer| consumer.id().name).collect();
        f.debug_struct("EventAdminServer").field("consumers", &names).finish_non_exhaustive()
    }
}

impl EventAdminServer {
    /// A service of these consumers. `caller` names who asks, for the audit.
    pub fn new(consumers: Vec<Arc<dyn ConsumerAdmin>>, caller: fn(&Extensions) -> String) -> Self {
        Self {
            consumers,
            caller,
            resyncs: Resyncs::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Shares the resyncs of the whole process; they run on `tasks` and are given up at `stop`.
    #[must_use]
    pub fn with_resyncs(mut self, resyncs: Resyncs, tasks: TaskTracker, stop: CancellationToken) -> Self {
        (self.resyncs, self.tasks, self.stop) = (resyncs, tasks, stop);
        self
    }

    /// The service for a tonic router.
    pub fn into_service(self) -> EventAdminServiceServer<Self> {
        EventAdminServiceServer::new(self)
    }

    fn consumer(&self, name: &str) -> Result<&Arc<dyn ConsumerAdmin>, Status> {
        let found = self.consumers.iter().find(|consumer| consumer.id().name == name);
        found.ok_or_else(|| status::consumer_not_found(name))
    }

    fn refuse(&self, error: &AdminError, kind: &str, id: &str) -> Status {
        match error {
            AdminError::NotParked => status::parked_not_found(kind, id),
            AdminError::StillFailing { event_id, error } => status::still_failing(*event_id, error),
            AdminError::RequestIdReused => refusal::status(Failure::RequestIdReused {
                method: RetryParkedRequest::METHOD,
                fields: Vec::new(),
            }),
            AdminError::ResyncUnsupported => status::resync_unsupported(id),
            AdminError::InProgress(request_id) => status::resync_in_progress(*request_id),
            AdminError::Halted(reason) => status::consumer_halted(id, reason),
            AdminError::Overtaken => status::unavailable(),
            AdminError::Source(error) => {
                let error = error as &dyn std::error::Error;
                tracing::warn!(error, "a resync could not ask the producer");
                status::unavailable()
            }
            AdminError::Store(error) => status::store(error),
        }
    }
}

#[tonic::async_trait]
impl EventAdminService for EventAdminServer {
    async fn get_consumers(
        &self,
        _request: Request<GetConsumersRequest>,
    ) -> Result<Response<GetConsumersResponse>, Status> {
        let mut consumers = Vec::with_capacity(self.consumers.len());
        for consumer in &self.consumers {
            let id = consumer.id();
            let standing = consumer.standing().await;
            consumers.push(consumer_state(
                id,
                standing.map_err(|error| self.refuse(&error, "consumer", id.name))?,
            ));
        }
        Ok(Response::new(GetConsumersResponse { consumers }))
    }

    async fn list_parked(
        &self,
        request: Request<ListParkedRequest>,
    ) -> Result<Response<ListParkedResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let consumer = violations.name("consumer", &request.consumer);
        let size = violations.page_size(request.page_size);
        let list = [ListParkedRequest::METHOD, request.consumer.as_str()];
        let after = violations.page_start(&list, &request.page_token);
        let ((consumer, size), after) =
            violations.finish(consumer.zip(size).zip(after)).map_err(refusal::status)?;
        let (size, after) = (size as usize, after.unwrap_or(0));
        // One more than the page has, to know whether it is the last.
        let mut parked = self
            .consumer(&consumer)?
            .list(after, size + 1)
            .await
            .map_err(|error| self.refuse(&error, "consumer", &consumer))?;
        let mut more = parked.len() > size;
        parked.truncate(size);
        let mut events = Vec::with_capacity(parked.len());
        let (mut bytes, mut last) = (0, after);
        for parked in parked {
            let position = parked.event.position;
            let event = parked_event(&consumer, parked);
            bytes += event.encoded_len();
            if !events.is_empty() && bytes > PAGE_BYTES {
                more = true;
                break;
            }
            events.push(event);
            last = position;
        }
        let next_page_token =
            if more { page_token::encode_number(&list, last.unsigned_abs()) } else { String::new() };
        Ok(Response::new(ListParkedResponse { events, next_page_token }))
    }

    async fn retry_parked(
        &self,
        request: Request<RetryParkedRequest>,
    ) -> Result<Response<RetryParkedResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let consumer = violations.name("consumer", &request.consumer);
        let kind = violations.name("aggregate_type", &request.aggregate_type);
        let id = violations.name("aggregate_id", &request.aggregate_id);
        let ((request_id, consumer), (kind, id)) =
            violations.finish(request_id.zip(consumer).zip(kind.zip(id))).map_err(refusal::status)?;
        let retried = self
            .consumer(&consumer)?
            .retry(Aggregate { kind: kind.clone(), id: id.clone() }, request_id)
            .await
            .map_err(|error| match error {
                AdminError::Halted(reason) => status::consumer_halted(&consumer, &reason),
                error => self.refuse(&error, &kind, &id),
            })?;
        Ok(Response::new(RetryParkedResponse {
            applied_count: count(retried.applied),
            remaining_count: count(retried.remaining),
        }))
    }

    async fn skip_parked(
        &self,
        request: Request<SkipParkedRequest>,
    ) -> Result<Response<SkipParkedResponse>, Status> {
        let caller = (self.caller)(request.extensions());
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let consumer = violations.name("consumer", &request.consumer);
        let event_id = violations.id::<EventId>("event_id", &request.event_id);
        let why = violations.body("justification", &request.justification, JUSTIFICATION_MAX);
        let ((request_id, consumer), (event_id, why)) =
            violations.finish(request_id.zip(consumer).zip(event_id.zip(why))).map_err(refusal::status)?;
        let skipped = self
            .consumer(&consumer)?
            .skip(Skip { event_id, request_id, caller: caller.clone(), justification: why.clone() })
            .await
            .map_err(|error| self.refuse(&error, "event", &event_id.to_string()))?;
        tracing::info!(
            audit = true,
            action = "event.skip_parked",
            caller,
            %request_id,
            consumer,
            %event_id,
            event_type = skipped.event_type,
            aggregate_type = skipped.aggregate.kind,
            aggregate_id = skipped.aggregate.id,
            position = skipped.position,
            justification = why,
            "a parked event was dropped for good"
        );
        Ok(Response::new(SkipParkedResponse {}))
    }

    async fn resync(&self, request: Request<ResyncRequest>) -> Result<Response<ResyncResponse>, Status> {
        let caller = (self.caller)(request.extensions());
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let consumer = violations.name("consumer", &request.consumer);
        let (request_id, consumer) = violations.finish(request_id.zip(consumer)).map_err(refusal::status)?;
        let joined =
            self.resyncs.join(self.consumer(&consumer)?, request_id, caller, &self.tasks, &self.stop);
        let mut outcome = match joined {
            Joined::Runs(outcome) => outcome,
            Joined::Busy(other) => return Err(status::resync_in_progress(other)),
        };
        let ended = match tokio::time::timeout(RESYNC_WAIT, outcome.wait_for(Option::is_some)).await {
            Err(_) => return Err(status::resync_in_progress(request_id)),
            Ok(Err(_)) => return Err(status::draining()),
            Ok(Ok(ended)) => ended.clone(),
        };
        let resynced = match ended.as_deref() {
            Some(Ok(resynced)) => *resynced,
            Some(Err(error)) => return Err(self.refuse(error, "consumer", &consumer)),
            None => return Err(status::draining()),
        };
        Ok(Response::new(ResyncResponse {
            aggregate_count: i64::try_from(resynced.aggregates).unwrap_or(i64::MAX),
            position: resynced.position,
        }))
    }
}

fn consumer_state(id: ConsumerId, standing: Option<Standing>) -> ConsumerState {
    let ConsumerId { name, stream } = id;
    let state =
        ConsumerState { consumer: name.to_owned(), stream: stream.to_owned(), ..ConsumerState::default() };
    let Some(Standing { mark, halted, .. }) = standing else { return state };
    ConsumerState {
        epoch: if mark.epoch.is_nil() { String::new() } else { mark.epoch.to_string() },
        position: mark.position,
        halted_reason: halted.unwrap_or_default(),
        ..state
    }
}

fn parked_event(consumer: &str, parked: Parked) -> ParkedEvent {
    ParkedEvent {
        consumer: consumer.to_owned(),
        event: Some(encode(&parked.event)),
        attempts: parked.attempts,
        error: parked.error,
        park_time: Some(violations::timestamp(parked.parked_at)),
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
