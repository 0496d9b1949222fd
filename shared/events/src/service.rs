//! `event.v1.EventService` over an [`EventLog`], where consumers get what the channel lost.
//!
//! The reader of a replay sets its pace: nothing is read from the database before the transport has room for it. A
//! client that does not read holds no memory here, and the replay of one that stops reading for long ends with an
//! error.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use api::event::v1::event_service_server::{EventService, EventServiceServer};
use api::event::v1::resume_response;
use api::event::v1::{
    AcknowledgeRequest, AcknowledgeResponse, HeadRequest, HeadResponse, ReplayRequest, ReplayResponse,
    ResolveRequest, ResolveResponse, ResumeRequest, ResumeResponse,
};
use api::refusal;
use api::violations::Violations;
use futures_util::stream::{self, Stream};
use prost::Message as _;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use types::EventId;

pub use crate::admin_service::EventAdminServer;
use crate::cloud_event::{encode, encode_head};
use crate::envelope::{Event, Position};
use crate::history::{self, HistoryError, Reader};
use crate::pace::jittered;
use crate::stamped::{self, Stamped};
use crate::status::{self, EventViolations as _};
use crate::store::{EventLog, Head, Mark, Resolved};

/// The longest that a follower waits for a message, even if it has no events.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// The time between two looks for events that another process stamps.
const REMOTE_POLL: Duration = Duration::from_millis(20);
/// The longest that a message may wait to be read.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// About how long a message may be; gRPC clients refuse more than 4 MiB.
const MESSAGE_BYTES: usize = 1 << 20;
/// How long Resolve waits when the caller sets no shorter deadline.
const RESOLVE_WITHIN: Duration = Duration::from_secs(10);
const RESOLVE_POLL: Duration = Duration::from_millis(20);

/// Serves the streams of one log.
#[derive(Clone)]
pub struct EventServer<L> {
    log: L,
    stamped: Stamped,
    shutdown: CancellationToken,
}

impl<L: fmt::Debug> fmt::Debug for EventServer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventServer").field("log", &self.log).finish_non_exhaustive()
    }
}

impl<L: EventLog> EventServer<L> {
    /// A service of this log's streams. Following streams end at the shutdown.
    pub fn new(log: L, shutdown: CancellationToken) -> Self {
        Self { log, stamped: Stamped::new(), shutdown }
    }

    /// Followers wake when this process' sequencer or relay stamps.
    #[must_use]
    pub fn with_stamped(mut self, stamped: Stamped) -> Self {
        self.stamped = stamped;
        self
    }

    /// The service for a tonic router.
    pub fn into_service(self) -> EventServiceServer<Self> {
        EventServiceServer::new(self)
    }
}

#[tonic::async_trait]
impl<L: EventLog> EventService for EventServer<L> {
    type ReplayStream = Pin<Box<dyn Stream<Item = Result<ReplayResponse, Status>> + Send>>;

    async fn head(&self, request: Request<HeadRequest>) -> Result<Response<HeadResponse>, Status> {
        let mut violations = Violations::new();
        let stream = violations.name("stream", &request.get_ref().stream);
        let stream = violations.finish(stream).map_err(refusal::status)?;
        let head =
            history::head(&self.log, &stream).await.map_err(|error| status::history(&stream, error))?;
        Ok(Response::new(HeadResponse { head: Some(encode_head(&head)) }))
    }

    async fn replay(&self, request: Request<ReplayRequest>) -> Result<Response<Self::ReplayStream>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let stream = violations.name("stream", &request.stream);
        let epoch = match request.epoch.as_str() {
            "" => Some(None),
            epoch => violations.epoch("epoch", epoch).map(Some),
        };
        let after = violations.position("after_position", request.after_position);
        let checked = stream.zip(epoch).zip(after);
        let ((stream, epoch), after) = violations.finish(checked).map_err(refusal::status)?;
        // Listens before the first read, so that it hears of everything that is stamped after that.
        let stamped = self.stamped.listen();
        let reader = Reader::open(self.log.clone(), &stream, epoch, after)
            .await
            .map_err(|error| status::history(&stream, error))?;
        let replay = Replay {
            reader,
            stream,
            shutdown: self.shutdown.clone(),
            stamped,
            follow: request.follow,
            backlog: VecDeque::new(),
            head: None,
            sent_through: after,
            sent_at: None,
            full: true,
        };
        let messages = stream::try_unfold(Some(replay), |replay| async move {
            let Some(mut replay) = replay else { return Ok(None) };
            let (message, more) = match replay.next().await? {
                Next::Message(message) => (message, true),
                Next::Last(message) => (message, false),
                Next::End => return Ok(None),
            };
            Ok(Some((message, more.then_some(replay))))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<ResumeResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let stream = violations.name("stream", &request.stream);
        let epoch = violations.epoch("epoch", &request.epoch);
        let position = violations.position("position", request.position);
        let event_id: Option<Option<EventId>> = if request.position == 0 {
            violations.optional_id("event_id", &request.event_id)
        } else {
            violations.id("event_id", &request.event_id).map(Some)
        };
        let checked = stream.zip(epoch).zip(position.zip(event_id));
        let ((stream, epoch), (position, event_id)) = violations.finish(checked).map_err(refusal::status)?;
        let answer = history::resume(&self.log, &stream, &Mark { epoch, position, event_id })
            .await
            .map_err(|error| status::history(&stream, error))?;
        let (history, head) = match answer {
            history::History::Same(head) => (resume_response::History::Same, head),
            history::History::Rewound(head) => (resume_response::History::Rewound, head),
        };
        Ok(Response::new(ResumeResponse { history: history.into(), head: Some(encode_head(&head)) }))
    }

    async fn acknowledge(
        &self,
        request: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let stream = violations.name("stream", &request.stream);
        let consumer = violations.name("consumer", &request.consumer);
        let epoch = violations.epoch("epoch", &request.epoch);
        let position = violations.position("position", request.position);
        let checked = stream.zip(consumer).zip(epoch.zip(position));
        let ((stream, consumer), (epoch, position)) = violations.finish(checked).map_err(refusal::status)?;
        let head =
            history::head(&self.log, &stream).await.map_err(|error| status::history(&stream, error))?;
        // A mark of another history says nothing about which of these events are still needed.
        if head.epoch != epoch || position > head.position {
            return Err(status::epoch_changed(&stream));
        }
        match self.log.acknowledge(&stream, &consumer, epoch, position).await {
            Ok(true) => Ok(Response::new(AcknowledgeResponse {})),
            Ok(false) => Err(status::consumer_not_found(&consumer)),
            Err(error) => Err(status::store(&error)),
        }
    }

    async fn resolve(&self, request: Request<ResolveRequest>) -> Result<Response<ResolveResponse>, Status> {
        let mut violations = Violations::new();
        let event_id = violations.id::<EventId>("event_id", &request.get_ref().event_id);
        let event_id = violations.finish(event_id).map_err(refusal::status)?;
        let resolved = timeout(RESOLVE_WITHIN, self.position_of(event_id)).await;
        let answer = resolved.map_err(|_| status::not_stamped_in_time())??;
        Ok(Response::new(answer))
    }
}

impl<L: EventLog> EventServer<L> {
    async fn position_of(&self, event_id: EventId) -> Result<ResolveResponse, Status> {
        let mut stamped = self.stamped.listen();
        loop {
            stamped.catch_up();
            match self.log.resolve(event_id).await.map_err(|error| status::store(&error))? {
                Resolved::At { stream, epoch, position } => {
                    return Ok(ResolveResponse { stream, epoch: epoch.to_string(), position });
                }
                Resolved::Unknown => return Err(status::event_not_found(event_id)),
                Resolved::Pending => {
                    drop(timeout(jittered(RESOLVE_POLL), stamped.stamped()).await);
                }
            }
        }
    }
}

/// One caller's replay.
struct Replay<L> {
    reader: Reader<L>,
    stream: String,
    shutdown: CancellationToken,
    stamped: stamped::Listener,
    follow: bool,
    /// Read and not sent yet: at most one page.
    backlog: VecDeque<Event>,
    /// Where the stream stood when the backlog was read; `None` before the first read.
    head: Option<Head>,
    sent_through: Position,
    sent_at: Option<Instant>,
    /// Whether there may be more without a wait.
    full: bool,
}

enum Next {
    Message(ReplayResponse),
    Last(ReplayResponse),
    End,
}

impl<L: EventLog> Replay<L> {
    async fn next(&mut self) -> Result<Next, Status> {
        if self.sent_at.is_some_and(|sent| sent.elapsed() > READ_WITHIN) {
            return Err(status::slow_consumer(self.sent_through));
        }
        if self.backlog.is_empty() {
            if self.shutdown.is_cancelled() {
                return if self.follow { Ok(Next::End) } else { Err(status::draining()) };
            }
            let first = self.head.is_none();
            if self.full {
                self.read().await?;
            } else if !self.follow {
                return Ok(Next::End);
            }
            if self.follow && !first && self.backlog.is_empty() && !self.await_events().await? {
                return Ok(Next::End);
            }
        }
        let message = self.message();
        self.sent_at = Some(Instant::now());
        if !self.follow && self.backlog.is_empty() && !self.full {
            return Ok(Next::Last(message));
        }
        Ok(Next::Message(message))
    }

    async fn read(&mut self) -> Result<(), Status> {
        self.stamped.catch_up();
        let page = self.reader.next().await.map_err(|error| self.refuse(error))?;
        self.full = page.events.len() >= history::PAGE_MAX;
        self.head = Some(page.head);
        self.backlog.extend(page.events);
        Ok(())
    }

    /// Waits for events, at most until a heartbeat is due; `false` at the shutdown.
    async fn await_events(&mut self) -> Result<bool, Status> {
        let due = Instant::now() + HEARTBEAT;
        while self.backlog.is_empty() && Instant::now() < due {
            let left = due.saturating_duration_since(Instant::now());
            let pause = if self.stamped.is_local() { left } else { left.min(jittered(REMOTE_POLL)) };
            tokio::select! {
                () = self.shutdown.cancelled() => return Ok(false),
                () = self.stamped.stamped() => {}
                () = sleep(pause) => {}
            }
            self.read().await?;
        }
        if due.elapsed() > READ_WITHIN {
            // The client did not ask for this message when it was due: it has not read those before it.
            return Err(status::slow_consumer(self.sent_through));
        }
        Ok(true)
    }

    /// As much of the backlog as one message takes.
    fn message(&mut self) -> ReplayResponse {
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(event) = self.backlog.front() {
            let cloud = encode(event);
            bytes += cloud.encoded_len();
            if !events.is_empty() && bytes > MESSAGE_BYTES {
                break;
            }
            events.push(cloud);
            self.sent_through = event.position;
            self.backlog.pop_front();
        }
        ReplayResponse { events, head: self.head.as_ref().map(encode_head) }
    }

    fn refuse(&self, error: HistoryError) -> Status {
        status::history(&self.stream, error)
    }
}
