//! `EventAdminService` through its generated client: what an operator sees and can do.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::event::v1::event_admin_service_client::EventAdminServiceClient;
use api::event::v1::event_admin_service_server::EventAdminServiceServer;
use api::event::v1::{
    GetConsumersRequest, ListParkedRequest, ResyncRequest, RetryParkedRequest, SkipParkedRequest,
};
use events::admin::BoxFuture;
use events::history::History;
use events::service::EventAdminServer;
use events::source::{Pages, Source, SourceError};
use events::{
    Aggregate, ConsumerHandle, ConsumerId, ConsumerStore as _, ConsumerTx as _, EffectError, Effects, Event,
    Head, Headers, Mark, NewEvent, Position, Rebuild, Snapshot, StoreError,
};
use time::OffsetDateTime;
use tokio::time::sleep;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use types::EventId;
use uuid::Uuid;

use crate::memory::{MemoryStore, MemoryTx};
use crate::world::READER;

const EPOCH: Uuid = Uuid::from_u128(5);
const OWNER: Uuid = Uuid::from_u128(6);

/// Fails for ever until it is healed.
#[derive(Default)]
struct Poisoned(Mutex<bool>);

impl Effects<MemoryTx> for Poisoned {
    async fn apply(&self, tx: &mut MemoryTx, run: &[Event]) -> Result<(), EffectError> {
        if !*self.0.lock().unwrap() {
            return Err(EffectError::Permanent("the defect is still there".into()));
        }
        run.iter().for_each(|event| tx.apply(event));
        Ok(())
    }
}

#[derive(Clone)]
struct Rewound;

impl Source for Rewound {
    async fn head(&self, stream: &str) -> Result<Head, SourceError> {
        Ok(Head { stream: stream.to_owned(), epoch: EPOCH, position: 0, event_id: None, oldest: 0 })
    }

    async fn replay(&self, _: &str, _: Uuid, _: Position, _: bool) -> Result<Pages, SourceError> {
        Err(SourceError::Pruned)
    }

    async fn resume(&self, stream: &str, _: &Mark) -> Result<History, SourceError> {
        Ok(History::Rewound(self.head(stream).await?))
    }

    async fn acknowledge(&self, _: ConsumerId, _: &Mark) -> Result<(), SourceError> {
        Ok(())
    }
}

/// A read model of 12 things at position 40.
struct Twelve(Arc<Rebuilding>);

/// How long a rebuild takes, and how many have begun.
#[derive(Default)]
struct Rebuilding {
    takes: Duration,
    begun: AtomicU32,
}

fn snapshot_head() -> Head {
    let event_id = Some(EventId::from_uuid(Uuid::from_u128(40)));
    Head { stream: READER.stream.to_owned(), epoch: EPOCH, position: 40, event_id, oldest: 1 }
}

impl Snapshot for Twelve {
    fn open(&self) -> BoxFuture<'_, Result<Box<dyn Rebuild>, StoreError>> {
        Box::pin(async { Ok(Box::new(Self(self.0.clone())) as Box<dyn Rebuild>) })
    }
}

impl Rebuild for Twelve {
    fn mark(&self) -> Mark {
        let head = snapshot_head();
        Mark::at(head.epoch, head.position, head.event_id)
    }

    fn write(self: Box<Self>, _: String) -> BoxFuture<'static, Result<u64, StoreError>> {
        Box::pin(async move {
            self.0.begun.fetch_add(1, Ordering::Relaxed);
            sleep(self.0.takes).await;
            Ok(12)
        })
    }
}

type Client = EventAdminServiceClient<EventAdminServiceServer<EventAdminServer>>;

struct Harness {
    store: MemoryStore,
    effects: Arc<Poisoned>,
    client: Client,
    events: Vec<Event>,
}

/// A process over the database. Each process knows only its own jobs.
fn replica(store: &MemoryStore, effects: &Arc<Poisoned>, snapshot: Option<Arc<Rebuilding>>) -> Client {
    let mut handle = ConsumerHandle::new(READER, store.clone(), effects.clone(), Rewound);
    if let Some(snapshot) = snapshot {
        handle = handle.with_snapshot(Arc::new(Twelve(snapshot)));
    }
    let server = EventAdminServer::new(vec![Arc::new(handle)], |_| "admin Ann".to_owned());
    EventAdminServiceClient::new(server.into_service())
}

impl Harness {
    /// Six parked events, three of each of two aggregates.
    async fn start(snapshot: bool) -> Self {
        Self::start_with(snapshot.then(Arc::default)).await
    }

    async fn start_with(snapshot: Option<Arc<Rebuilding>>) -> Self {
        let (store, effects) = (MemoryStore::default(), Arc::new(Poisoned::default()));
        let client = replica(&store, &effects, snapshot);
        store.mark_lease(READER, OWNER, Duration::ZERO).await.unwrap();
        let events: Vec<Event> = (1..=6).map(parked).collect();
        let mut tx = store.begin().await.unwrap();
        for event in &events {
            tx.park(READER, event, 1, "a defect").await.unwrap();
        }
        tx.commit().await.unwrap();
        Self { store, effects, client, events }
    }

    async fn list(&mut self, page_size: i32, page_token: String) -> (Vec<String>, String) {
        let request = ListParkedRequest { consumer: READER.name.to_owned(), page_size, page_token };
        let response = self.client.list_parked(request).await.unwrap().into_inner();
        let ids = response.events.into_iter().map(|parked| parked.event.unwrap().id);
        (ids.collect(), response.next_page_token)
    }
}

fn parked(position: Position) -> Event {
    Event {
        stream: READER.stream.to_owned(),
        epoch: EPOCH,
        position,
        previous: None,
        new: NewEvent {
            id: EventId::from_uuid(Uuid::now_v7()),
            aggregate: Aggregate::new("thing", position % 2),
            aggregate_version: position,
            event_type: "test.v1.Happened".to_owned(),
            schema_version: 1,
            payload: bytes::Bytes::new(),
            headers: Headers::default(),
            created_at: OffsetDateTime::UNIX_EPOCH,
        },
    }
}

fn request_id() -> String {
    Uuid::now_v7().to_string()
}

fn retry(id: &str) -> RetryParkedRequest {
    RetryParkedRequest {
        request_id: request_id(),
        consumer: READER.name.to_owned(),
        aggregate_type: "thing".to_owned(),
        aggregate_id: id.to_owned(),
    }
}

fn skip(event: &Event) -> SkipParkedRequest {
    SkipParkedRequest {
        request_id: request_id(),
        consumer: READER.name.to_owned(),
        event_id: event.new.id.to_string(),
        justification: "the order was cancelled by hand".to_owned(),
    }
}

fn resync() -> ResyncRequest {
    ResyncRequest { request_id: request_id(), consumer: READER.name.to_owned() }
}

fn parts(status: &Status) -> (Code, String, Vec<(String, String)>) {
    let info = status.get_details_error_info().unwrap();
    let mut metadata: Vec<_> = info.metadata.into_iter().collect();
    metadata.sort();
    (status.code(), info.reason, metadata)
}

#[tokio::test(start_paused = true)]
async fn parked_events_are_listed_page_by_page() {
    let mut harness = Harness::start(false).await;
    let (first, token) = harness.list(4, String::new()).await;
    let (rest, end) = harness.list(4, token.clone()).await;
    let all: Vec<String> = harness.events.iter().map(|event| event.new.id.to_string()).collect();
    assert_eq!([first, rest].concat(), all);
    assert!(end.is_empty());
    let wrong =
        ListParkedRequest { consumer: READER.name.to_owned(), page_size: -1, page_token: "ff".to_owned() };
    let status = harness.client.list_parked(wrong).await.unwrap_err();
    assert_eq!(parts(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned(), vec![]));
    let fields: Vec<_> = (status.get_details_bad_request().unwrap().field_violations.into_iter())
        .map(|violation| format!("{} {}", violation.field, violation.reason))
        .collect();
    assert_eq!(fields, ["page_size NEGATIVE", "page_token INVALID_PAGE_TOKEN"]);
    let nobody = ListParkedRequest { consumer: "nobody".to_owned(), page_size: 0, page_token: String::new() };
    let status = harness.client.list_parked(nobody).await.unwrap_err();
    assert_eq!(parts(&status), (Code::NotFound, "CONSUMER_NOT_FOUND".to_owned(), vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_retry_tells_what_still_fails_and_what_is_left() {
    let mut harness = Harness::start(false).await;
    let status = harness.client.retry_parked(retry("1")).await.unwrap_err();
    let (code, reason, metadata) = parts(&status);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "STILL_FAILING"));
    let expected = [
        ("error".to_owned(), "the defect is still there".to_owned()),
        ("event_id".to_owned(), harness.events[0].new.id.to_string()),
    ];
    assert_eq!(metadata, expected);
    *harness.effects.0.lock().unwrap() = true;
    let done = harness.client.retry_parked(retry("1")).await.unwrap().into_inner();
    assert_eq!((done.applied_count, done.remaining_count), (3, 0));
    let applied: Vec<_> = harness.store.applied().await.iter().map(|event| event.position).collect();
    assert_eq!(applied, [1, 3, 5]);
    let status = harness.client.retry_parked(retry("1")).await.unwrap_err();
    assert_eq!(parts(&status), (Code::NotFound, "PARKED_NOT_FOUND".to_owned(), vec![]));
    assert_eq!(harness.list(0, String::new()).await.0.len(), 3, "the other aggregate's");
}

/// Collects what is logged.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_skip_needs_a_reason_and_is_audited() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut harness = Harness::start(false).await;
    let unjustified = SkipParkedRequest { justification: String::new(), ..skip(&harness.events[1]) };
    let status = harness.client.skip_parked(unjustified).await.unwrap_err();
    assert_eq!(parts(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned(), vec![]));
    assert_eq!(harness.list(0, String::new()).await.0.len(), 6);

    let request = skip(&harness.events[1]);
    harness.client.skip_parked(request.clone()).await.unwrap();
    // The second call cannot know whether the first one wrote its line.
    harness.client.skip_parked(request.clone()).await.unwrap();
    let status = harness.client.skip_parked(skip(&harness.events[1])).await.unwrap_err();
    assert_eq!(parts(&status), (Code::NotFound, "PARKED_NOT_FOUND".to_owned(), vec![]));
    assert_eq!(harness.list(0, String::new()).await.0.len(), 5);
    let text = lines.text();
    let audited: Vec<&str> = text.lines().filter(|line| line.contains("\"audit\":true")).collect();
    assert_eq!(audited.len(), 2, "{text}");
    for part in
        ["event.skip_parked", "admin Ann", &request.request_id, &request.event_id, &request.justification]
    {
        assert!(audited.iter().all(|line| line.contains(part)), "{part} in {audited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_resync_takes_the_snapshot_where_there_is_one_and_is_refused_where_history_differs() {
    let mut harness = Harness::start(true).await;
    assert!(harness.store.halt(READER, OWNER, &Mark::START, "stream_rewound").await.unwrap());
    let done = harness.client.resync(resync()).await.unwrap().into_inner();
    assert_eq!((done.aggregate_count, done.position), (12, 40));
    let head = snapshot_head();
    let there = Mark { epoch: EPOCH, position: 40, event_id: head.event_id };
    assert_eq!(harness.store.stands(READER).await, (there, None));
    assert_eq!(harness.list(0, String::new()).await.0, [""; 0], "the snapshot has what was parked");

    let mut harness = Harness::start(false).await;
    assert!(harness.store.mark_adopt(READER, &Mark::START, &there).await.unwrap());
    assert!(harness.store.halt(READER, OWNER, &there, "stream_rewound").await.unwrap());
    let status = harness.client.resync(resync()).await.unwrap_err();
    assert_eq!(parts(&status), (Code::FailedPrecondition, "RESYNC_UNSUPPORTED".to_owned(), vec![]));
    assert_eq!(harness.store.stands(READER).await, (there, Some("stream_rewound".to_owned())));
}

/// A call has seconds, a rebuild may take minutes. It goes on after the call, a repeat joins it, and later repeats get
/// its answer.
#[tokio::test(start_paused = true)]
async fn a_resync_outlives_its_call_and_is_joined_by_a_repeat() {
    let rebuilding = Arc::new(Rebuilding { takes: Duration::from_secs(10), begun: AtomicU32::new(0) });
    let mut harness = Harness::start_with(Some(rebuilding.clone())).await;
    assert!(harness.store.halt(READER, OWNER, &Mark::START, "stream_rewound").await.unwrap());
    let request = resync();
    let running = vec![("request_id".to_owned(), request.request_id.clone())];
    for _ in 0..3 {
        let status = harness.client.resync(request.clone()).await.unwrap_err();
        assert_eq!(parts(&status), (Code::Unavailable, "REQUEST_IN_PROGRESS".to_owned(), running.clone()));
        assert!(status.get_details_retry_info().is_some());
    }
    let other = harness.client.resync(resync()).await.unwrap_err();
    assert_eq!(parts(&other), (Code::Unavailable, "REQUEST_IN_PROGRESS".to_owned(), running));
    let listed = harness.client.get_consumers(GetConsumersRequest {}).await.unwrap().into_inner();
    let [state] = &listed.consumers[..] else { panic!("{listed:?}") };
    assert!(state.halted_reason.starts_with(&format!("resync {}", request.request_id)), "{state:?}");
    for _ in 0..2 {
        let done = harness.client.resync(request.clone()).await.unwrap().into_inner();
        assert_eq!((done.aggregate_count, done.position), (12, 40));
    }
    assert_eq!(rebuilding.begun.load(Ordering::Relaxed), 1, "one request is one rebuild");
    let (mark, halted) = harness.store.stands(READER).await;
    assert_eq!((mark.position, halted), (40, None));
}

/// Behind a load balancer a repeat may come to another replica, which must complete what the first one began.
#[tokio::test(start_paused = true)]
async fn a_resync_ends_whichever_replica_its_repeats_come_to() {
    let rebuilding = Arc::new(Rebuilding { takes: Duration::from_secs(10), begun: AtomicU32::new(0) });
    let harness = Harness::start_with(Some(rebuilding.clone())).await;
    let other = replica(&harness.store, &harness.effects, Some(rebuilding.clone()));
    let request = resync();
    let running = vec![("request_id".to_owned(), request.request_id.clone())];
    let mut replicas = [harness.client.clone(), other];
    let mut asked = 0;
    let done = loop {
        let replica = &mut replicas[asked % 2];
        asked += 1;
        match replica.resync(request.clone()).await {
            Ok(done) => break done.into_inner(),
            Err(status) => {
                let expected = (Code::Unavailable, "REQUEST_IN_PROGRESS".to_owned(), running.clone());
                assert_eq!(parts(&status), expected);
            }
        }
        assert!(asked < 30, "it does not end");
        sleep(Duration::from_secs(1)).await;
    };
    assert!(asked > 2, "both were asked meanwhile");
    assert_eq!((done.aggregate_count, done.position), (12, 40));
    assert_eq!(rebuilding.begun.load(Ordering::Relaxed), 1, "one request is one rebuild");
}

/// The parked events are of a history that the producer no longer has.
#[tokio::test(start_paused = true)]
async fn a_retry_is_refused_while_the_stream_is_rewound() {
    let mut harness = Harness::start(false).await;
    *harness.effects.0.lock().unwrap() = true;
    assert!(harness.store.halt(READER, OWNER, &Mark::START, "stream_rewound").await.unwrap());
    let status = harness.client.retry_parked(retry("1")).await.unwrap_err();
    let metadata = vec![("halted_reason".to_owned(), "stream_rewound".to_owned())];
    assert_eq!(parts(&status), (Code::FailedPrecondition, "CONSUMER_HALTED".to_owned(), metadata));
    assert_eq!(harness.store.applied().await, []);
}
