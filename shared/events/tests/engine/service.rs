//! `EventService` through its generated client: every status with its details, and how a follower's stream behaves.

use std::time::Duration;

use api::event::v1::event_service_client::EventServiceClient;
use api::event::v1::event_service_server::EventServiceServer;
use api::event::v1::resume_response::History;
use api::event::v1::{
    AcknowledgeRequest, HeadRequest, ReplayRequest, ReplayResponse, ResolveRequest, ResumeRequest,
};
use events::service::EventServer;
use events::{Aggregate, Event, EventLog as _, Headers, Lease, NewEvent, OutboxStore as _, Stamp, Stamped};
use prost::Message as _;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use types::EventId;
use uuid::Uuid;

use crate::memory::MemoryOutbox;

const STREAM: &str = "model";

struct Harness {
    outbox: MemoryOutbox,
    lease: Lease,
    client: EventServiceClient<EventServiceServer<EventServer<MemoryOutbox>>>,
    shutdown: CancellationToken,
}

impl Harness {
    async fn start() -> Self {
        let outbox = MemoryOutbox::new(STREAM);
        let lease = outbox.lease(STREAM, Uuid::new_v4(), Duration::from_secs(3600)).await.unwrap().unwrap();
        let shutdown = CancellationToken::new();
        let server = EventServer::new(outbox.clone(), shutdown.clone()).with_stamped(Stamped::new());
        let client = EventServiceClient::new(server.into_service());
        Self { outbox, lease, client, shutdown }
    }

    async fn append(&self, count: usize, bytes: usize) -> Vec<Event> {
        let events = (0..count).map(|_| NewEvent {
            id: EventId::from_uuid(Uuid::now_v7()),
            aggregate: Aggregate::new("thing", Uuid::now_v7()),
            aggregate_version: 1,
            event_type: "test.v1.Happened".to_owned(),
            schema_version: 1,
            payload: vec![1; bytes].into(),
            headers: Headers::default(),
            created_at: OffsetDateTime::UNIX_EPOCH,
        });
        self.outbox.commit(events.collect()).unwrap();
        match self.outbox.stamp(&self.lease, count, Duration::from_secs(3600)).await.unwrap() {
            Stamp::Stamped(events) => events,
            Stamp::LeaseLost => panic!("nobody else is here"),
        }
    }

    async fn prune(&self, acknowledged: i64) {
        self.outbox.register("model.reader");
        self.outbox.acknowledge(STREAM, "model.reader", self.lease.epoch, acknowledged).await.unwrap();
        self.outbox.prune(&self.lease, Duration::ZERO, 1000).await.unwrap();
    }

    fn replay(&self, after_position: i64, follow: bool) -> ReplayRequest {
        let epoch = self.lease.epoch.to_string();
        ReplayRequest { stream: STREAM.to_owned(), epoch, after_position, follow }
    }

    async fn open(&mut self, request: ReplayRequest) -> Streaming<ReplayResponse> {
        self.client.replay(request).await.unwrap().into_inner()
    }
}

/// Code, reason, metadata. The domain is the server's to add.
fn parts(status: &Status) -> (Code, String, Vec<(String, String)>) {
    let info = status.get_details_error_info().unwrap();
    let mut metadata: Vec<_> = info.metadata.into_iter().collect();
    metadata.sort();
    (status.code(), info.reason, metadata)
}

fn plain(code: Code, reason: &str) -> (Code, String, Vec<(String, String)>) {
    (code, reason.to_owned(), Vec::new())
}

#[tokio::test(start_paused = true)]
async fn an_unknown_stream_is_not_found() {
    let mut harness = Harness::start().await;
    let stream = "nowhere".to_owned();
    let statuses = [
        harness.client.head(HeadRequest { stream: stream.clone() }).await.unwrap_err(),
        harness.client.replay(ReplayRequest { stream, ..harness.replay(0, false) }).await.unwrap_err(),
    ];
    for status in statuses {
        assert_eq!(parts(&status), plain(Code::NotFound, "STREAM_NOT_FOUND"));
        let resource = status.get_details_resource_info().unwrap();
        assert_eq!((resource.resource_type.as_str(), resource.resource_name.as_str()), ("stream", "nowhere"));
    }
}

#[tokio::test(start_paused = true)]
async fn all_violations_are_reported_at_once() {
    let mut harness = Harness::start().await;
    let request =
        ResumeRequest { stream: String::new(), epoch: "x".to_owned(), position: -1, event_id: String::new() };
    let status = harness.client.resume(request).await.unwrap_err();
    assert_eq!(parts(&status), plain(Code::InvalidArgument, "INVALID_REQUEST"));
    let broken: Vec<_> = (status.get_details_bad_request().unwrap().field_violations.into_iter())
        .map(|violation| (violation.field, violation.reason))
        .collect();
    let expected =
        [("stream", "REQUIRED"), ("epoch", "INVALID_ID"), ("position", "NEGATIVE"), ("event_id", "REQUIRED")];
    assert_eq!(broken, expected.map(|(field, reason)| (field.to_owned(), reason.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_whole_in_bounded_messages_and_ends() {
    let mut harness = Harness::start().await;
    let mut events = harness.append(1200, 10).await;
    events.extend(harness.append(60, 60_000).await);
    let mut stream = harness.open(harness.replay(3, false)).await;
    let mut got = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        assert!(message.events.len() <= 500, "{}", message.events.len());
        assert!(message.encoded_len() < 1_200_000, "{}", message.encoded_len());
        assert_eq!(message.head.unwrap().position, 1260);
        got.extend(message.events);
    }
    let expected: Vec<_> = events[3..].iter().map(events::cloud_event::encode).collect();
    assert!(got == expected, "{} of {} events, or others", got.len(), expected.len());
    let mut nothing = harness.open(harness.replay(1260, false)).await;
    assert_eq!(nothing.message().await.unwrap().unwrap().events.len(), 0, "the head, and no event");
    assert!(nothing.message().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn another_epoch_and_pruned_events_are_refused() {
    let mut harness = Harness::start().await;
    harness.append(10, 10).await;
    let request = ReplayRequest { epoch: Uuid::new_v4().to_string(), ..harness.replay(0, false) };
    let status = harness.client.replay(request).await.unwrap_err();
    assert_eq!(parts(&status), plain(Code::FailedPrecondition, "EPOCH_CHANGED"));
    harness.prune(6).await;
    let status = harness.client.replay(harness.replay(2, true)).await.unwrap_err();
    let (code, reason, metadata) = parts(&status);
    assert_eq!((code, reason.as_str()), (Code::OutOfRange, "POSITION_PRUNED"));
    assert_eq!(metadata, [("oldest_position".to_owned(), "6".to_owned())]);
    // A request without an epoch accepts any history; 5 is the oldest event that is left.
    let any = ReplayRequest { epoch: String::new(), ..harness.replay(5, false) };
    assert_eq!(harness.open(any).await.message().await.unwrap().unwrap().events.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_follower_hears_at_once_of_events_and_always_of_life_until_the_drain() {
    let mut harness = Harness::start().await;
    harness.append(2, 10).await;
    let mut stream = harness.open(harness.replay(0, true)).await;
    assert_eq!(stream.message().await.unwrap().unwrap().events.len(), 2);
    for _ in 0..3 {
        let asked = Instant::now();
        let heartbeat = stream.message().await.unwrap().unwrap();
        assert_eq!((heartbeat.events.len(), heartbeat.head.unwrap().position), (0, 2));
        assert!(asked.elapsed() <= Duration::from_millis(270), "{:?}", asked.elapsed());
    }
    harness.append(1, 10).await;
    let stamped = Instant::now();
    let message = stream.message().await.unwrap().unwrap();
    assert_eq!((message.events.len(), message.head.unwrap().position), (1, 3));
    assert!(stamped.elapsed() <= Duration::from_millis(25), "{:?}", stamped.elapsed());
    harness.shutdown.cancel();
    let end = timeout(Duration::from_millis(10), stream.message()).await.unwrap();
    assert!(end.unwrap().is_none(), "it ends at the drain, without an error");
}

#[tokio::test(start_paused = true)]
async fn a_follower_of_another_epoch_is_sent_to_resume() {
    let mut harness = Harness::start().await;
    harness.append(1, 10).await;
    let mut stream = harness.open(harness.replay(0, true)).await;
    stream.message().await.unwrap();
    harness.outbox.move_to_another_server();
    harness.outbox.lease(STREAM, harness.lease.owner, Duration::from_secs(3600)).await.unwrap();
    let status = loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some_and(|message| message.events.is_empty())),
            Err(status) => break status,
        }
    };
    assert_eq!(parts(&status), plain(Code::FailedPrecondition, "EPOCH_CHANGED"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_gets_an_error() {
    let mut harness = Harness::start().await;
    harness.append(100, 60_000).await;
    let mut stream = harness.open(harness.replay(0, true)).await;
    let first = stream.message().await.unwrap().unwrap();
    let read = first.events.len();
    assert!(read < 100, "the rest waits");
    tokio::time::sleep(Duration::from_secs(31)).await;
    let mut through = read;
    let status = loop {
        match stream.message().await {
            // A message that the transport had taken before.
            Ok(message) => through += message.unwrap().events.len(),
            Err(status) => break status,
        }
    };
    let (code, reason, metadata) = parts(&status);
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "SLOW_CONSUMER"));
    assert_eq!(metadata, [("position".to_owned(), through.to_string())]);
}

#[tokio::test(start_paused = true)]
async fn resume_compares_the_event_at_the_mark() {
    let mut harness = Harness::start().await;
    let events = harness.append(10, 10).await;
    let epoch = Uuid::new_v4().to_string();
    let ask = |position: i64, event_id: &EventId| ResumeRequest {
        stream: STREAM.to_owned(),
        epoch: epoch.clone(),
        position,
        event_id: event_id.to_string(),
    };
    let (third, ninth) = (events[2].new.id, events[8].new.id);
    let cases = [
        (ask(9, &ninth), History::Same),
        (ask(9, &third), History::Rewound),
        (ask(11, &ninth), History::Rewound),
        (ResumeRequest { event_id: String::new(), ..ask(0, &third) }, History::Same),
    ];
    for (request, history) in cases {
        let answer = harness.client.resume(request).await.unwrap().into_inner();
        assert_eq!(answer.history(), history);
        let head = answer.head.unwrap();
        assert_eq!((head.position, head.epoch), (10, harness.lease.epoch.to_string()));
    }
    harness.prune(9).await;
    let status = harness.client.resume(ask(3, &third)).await.unwrap_err();
    let (code, reason, metadata) = parts(&status);
    assert_eq!((code, reason.as_str()), (Code::OutOfRange, "POSITION_PRUNED"));
    assert_eq!(metadata, [("oldest_position".to_owned(), "9".to_owned())]);
    let answer = harness.client.resume(ask(9, &ninth)).await.unwrap().into_inner();
    assert_eq!(answer.history(), History::Same, "the event at the smallest mark is kept for this");
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_is_of_the_present_history() {
    let mut harness = Harness::start().await;
    harness.append(3, 10).await;
    harness.outbox.register("model.reader");
    let good = AcknowledgeRequest {
        stream: STREAM.to_owned(),
        consumer: "model.reader".to_owned(),
        epoch: harness.lease.epoch.to_string(),
        position: 3,
    };
    harness.client.acknowledge(good.clone()).await.unwrap();
    assert_eq!(harness.outbox.acknowledged("model.reader"), Some(3));
    let strange = AcknowledgeRequest { consumer: "nobody".to_owned(), ..good.clone() };
    let status = harness.client.acknowledge(strange).await.unwrap_err();
    assert_eq!(parts(&status), plain(Code::NotFound, "CONSUMER_NOT_FOUND"));
    for wrong in [
        AcknowledgeRequest { epoch: Uuid::new_v4().to_string(), ..good.clone() },
        AcknowledgeRequest { position: 4, ..good },
    ] {
        let status = harness.client.acknowledge(wrong).await.unwrap_err();
        assert_eq!(parts(&status), plain(Code::FailedPrecondition, "EPOCH_CHANGED"));
    }
    assert_eq!(harness.outbox.acknowledged("model.reader"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn resolve_waits_for_the_stamp() {
    let mut harness = Harness::start().await;
    let stamped = harness.append(1, 10).await;
    let unknown = ResolveRequest { event_id: Uuid::now_v7().to_string() };
    let status = harness.client.resolve(unknown).await.unwrap_err();
    assert_eq!(parts(&status), plain(Code::NotFound, "EVENT_NOT_FOUND"));

    let pending =
        NewEvent { id: EventId::from_uuid(Uuid::now_v7()), aggregate_version: 2, ..stamped[0].new.clone() };
    harness.outbox.commit(vec![pending.clone()]).unwrap();
    let ask = ResolveRequest { event_id: pending.id.to_string() };
    let (outbox, lease) = (harness.outbox.clone(), harness.lease.clone());
    let stamp = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        outbox.stamp(&lease, 1, Duration::from_secs(3600)).await.unwrap();
    };
    let (answer, ()) = futures_util::future::join(harness.client.resolve(ask.clone()), stamp).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!((answer.stream.as_str(), answer.position), (STREAM, 2));
    assert_eq!(answer.epoch, harness.lease.epoch.to_string());

    let never = NewEvent { id: EventId::from_uuid(Uuid::now_v7()), aggregate_version: 3, ..pending };
    harness.outbox.commit(vec![never.clone()]).unwrap();
    let ask = ResolveRequest { event_id: never.id.to_string() };
    let status = harness.client.resolve(ask).await.unwrap_err();
    assert_eq!(parts(&status), plain(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
}
