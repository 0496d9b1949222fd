//! The producer's `EventService`, from which a consumer gets what the channel lost.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use api::event::v1::event_service_client::EventServiceClient;
use api::event::v1::{
    AcknowledgeRequest, ErrorReason, HeadRequest, ReplayRequest, ReplayResponse, ResumeRequest, StreamHead,
    resume_response,
};
use api::refusal::Reason as _;
use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use http_body::Body;
use tonic::client::GrpcService;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::cloud_event::{Malformed, decode, decode_head};
use crate::envelope::Position;
use crate::history::{History, Page};
use crate::store::{ConsumerId, Head, Mark};

/// How long a call that is not a replay may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the producer did not give what was asked for.
#[derive(Debug)]
pub enum SourceError {
    /// The stream has another epoch: ask [`Source::resume`].
    EpochChanged,
    /// The events there, or the event at the mark, are pruned.
    Pruned,
    /// Anything else: the same may work in a moment.
    Unavailable(Box<dyn StdError + Send + Sync>),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EpochChanged => "the stream has another epoch",
            Self::Pruned => "the events there are pruned",
            Self::Unavailable(_) => "the producer does not answer, or not correctly",
        })
    }
}

impl StdError for SourceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Unavailable(source) => Some(source.as_ref()),
            Self::EpochChanged | Self::Pruned => None,
        }
    }
}

impl From<Malformed> for SourceError {
    fn from(error: Malformed) -> Self {
        Self::Unavailable(error.into())
    }
}

/// The pages of a replay, which ends with the last of them.
pub type Pages = Pin<Box<dyn Stream<Item = Result<Page, SourceError>> + Send>>;

/// The producer, as a consumer sees it.
pub trait Source: Clone + Send + Sync + 'static {
    /// The head of a stream.
    fn head(&self, stream: &str) -> impl Future<Output = Result<Head, SourceError>> + Send;

    /// The events of a history above a position, up to its head or, with `follow`, without an end.
    fn replay(
        &self,
        stream: &str,
        epoch: Uuid,
        after: Position,
        follow: bool,
    ) -> impl Future<Output = Result<Pages, SourceError>> + Send;

    /// Whether a mark is still in the stream's history.
    fn resume(&self, stream: &str, mark: &Mark) -> impl Future<Output = Result<History, SourceError>> + Send;

    /// Tells the producer how far a registered consumer has come.
    fn acknowledge(
        &self,
        consumer: ConsumerId,
        mark: &Mark,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// A peer's `EventService`, over any channel that tonic's clients take.
#[derive(Debug, Clone)]
pub struct GrpcSource<T>(EventServiceClient<T>);

impl<T> GrpcSource<T>
where
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<Box<dyn StdError + Send + Sync>>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<Box<dyn StdError + Send + Sync>> + Send,
{
    /// The producer at the other end of this channel, which must not put a deadline on streams.
    pub fn new(channel: T) -> Self {
        Self(EventServiceClient::new(channel))
    }
}

impl<T> Source for GrpcSource<T>
where
    T: GrpcService<tonic::body::Body> + Clone + Send + Sync + 'static,
    T::Error: Into<Box<dyn StdError + Send + Sync>>,
    T::Future: Send,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<Box<dyn StdError + Send + Sync>> + Send,
{
    async fn head(&self, stream: &str) -> Result<Head, SourceError> {
        let request = HeadRequest { stream: stream.to_owned() };
        let mut client = self.0.clone();
        let response = within(client.head(request)).await?;
        head_of(response.into_inner().head.as_ref())
    }

    async fn replay(
        &self,
        stream: &str,
        epoch: Uuid,
        after: Position,
        follow: bool,
    ) -> Result<Pages, SourceError> {
        let request = ReplayRequest {
            stream: stream.to_owned(),
            epoch: epoch.to_string(),
            after_position: after,
            follow,
        };
        let mut client = self.0.clone();
        // Only the beginning of the answer has a deadline: a replay may take long.
        let response = within(client.replay(request)).await?;
        Ok(Box::pin(response.into_inner().map(|message| page_of(message.map_err(source_error)?))))
    }

    async fn resume(&self, stream: &str, mark: &Mark) -> Result<History, SourceError> {
        let request = ResumeRequest {
            stream: stream.to_owned(),
            epoch: mark.epoch.to_string(),
            position: mark.position,
            event_id: mark.event_id.map(|id| id.to_string()).unwrap_or_default(),
        };
        let mut client = self.0.clone();
        let response = within(client.resume(request)).await?.into_inner();
        let head = head_of(response.head.as_ref())?;
        match response.history() {
            resume_response::History::Same => Ok(History::Same(head)),
            resume_response::History::Rewound => Ok(History::Rewound(head)),
            resume_response::History::Unspecified => Err(SourceError::Unavailable(
                "the producer did not say whether the history is the same".into(),
            )),
        }
    }

    async fn acknowledge(&self, consumer: ConsumerId, mark: &Mark) -> Result<(), SourceError> {
        let request = AcknowledgeRequest {
            stream: consumer.stream.to_owned(),
            consumer: consumer.name.to_owned(),
            epoch: mark.epoch.to_string(),
            position: mark.position,
        };
        let mut client = self.0.clone();
        within(client.acknowledge(request)).await?;
        Ok(())
    }
}

async fn within<R>(call: impl Future<Output = Result<R, Status>>) -> Result<R, SourceError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(source_error),
        Err(elapsed) => Err(SourceError::Unavailable(elapsed.into())),
    }
}

/// Looks at the code and the reason: a consumer halts when its events are pruned, and tonic itself also uses the code
/// `OUT_OF_RANGE`, for a message that is too long.
fn source_error(status: Status) -> SourceError {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    match (status.code(), reason) {
        (Code::FailedPrecondition, Some(reason)) if reason == ErrorReason::EpochChanged.wire_name() => {
            SourceError::EpochChanged
        }
        (Code::OutOfRange, Some(reason)) if reason == ErrorReason::PositionPruned.wire_name() => {
            SourceError::Pruned
        }
        _ => SourceError::Unavailable(status.into()),
    }
}

fn page_of(message: ReplayResponse) -> Result<Page, SourceError> {
    let head = head_of(message.head.as_ref())?;
    let events = message.events.into_iter().map(decode).collect::<Result<_, _>>()?;
    Ok(Page { events, head })
}

fn head_of(head: Option<&StreamHead>) -> Result<Head, SourceError> {
    let head = head
        .ok_or_else(|| SourceError::Unavailable("the producer did not send the head of its stream".into()))?;
    Ok(decode_head(head)?)
}
