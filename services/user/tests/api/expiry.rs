//! Holds past their time: the coordinator is asked, and nobody else decides.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::order::v1::transfer::Decision;
use api::order::v1::transfer_service_server::{self, TransferService, TransferServiceServer};
use api::order::v1::{
    CancelTransferRequest, CancelTransferResponse, ExplainTransferRequest, ExplainTransferResponse,
    GetDecisionRequest, GetDecisionResponse, GetTransferRequest, GetTransferResponse, PayOrderRequest,
    PayOrderResponse, RefundOrderRequest, RefundOrderResponse, RetryTransferRequest, RetryTransferResponse,
    WatchTransferRequest, WatchTransferResponse,
};
use api::user::v1::{CreditPosted, CreditReleased};
use events::{
    ConsumerStore as _, ConsumerTx as _, Direction, HoldClaim, HoldSpec, HoldState, Mark, Resynced, Step,
};
use runtime::client::Peer;
use runtime::tls::Tls;
use testkit::wait_until;
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use types::{Clock as _, SystemClock, SystemIds, TransferId, UserId};
use user_service::clients::order::OrderClient;
use user_service::transfers::CONSUMER;
use user_service::transfers::expiry::{Expiry, ExpiryCounters, ExpiryOptions};
use uuid::Uuid;

use crate::book::{Book, Numbers, spec};
use crate::transfers::{confirm, reserve};

const WITHIN: Duration = Duration::from_secs(20);
const EPOCH: Uuid = Uuid::from_u128(0xe);

/// What order service says about a transfer.
#[derive(Debug, Clone, Copy)]
enum Says {
    Decided(Decision),
    OtherEpoch(Decision),
    Nothing,
}

/// Order service, as far as a participant sees it.
#[derive(Debug, Clone, Default)]
struct Coordinator {
    says: Arc<Mutex<HashMap<String, Says>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Coordinator {
    fn says(&self, transfer_id: TransferId, says: Says) {
        self.says.lock().unwrap().insert(transfer_id.to_string(), says);
    }

    fn times_asked(&self, transfer_id: TransferId) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| **asked == transfer_id.to_string()).count()
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl TransferService for Coordinator {
    type WatchTransferStream = Pin<Box<dyn Stream<Item = Result<WatchTransferResponse, Status>> + Send>>;

    async fn get_decision(&self, request: Request<GetDecisionRequest>) -> Answer<GetDecisionResponse> {
        let request = request.into_inner();
        assert_eq!(request.epoch, EPOCH.to_string(), "the epoch of the mark is what the question is about");
        self.asked.lock().unwrap().push(request.transfer_id.clone());
        let says = self.says.lock().unwrap().get(&request.transfer_id).copied();
        let (decision, epoch) = match says {
            Some(Says::Decided(decision)) => (decision, EPOCH),
            Some(Says::OtherEpoch(decision)) => (decision, Uuid::from_u128(0xf)),
            Some(Says::Nothing) | None => return Err(Status::unavailable("not now")),
        };
        Ok(Response::new(GetDecisionResponse { decision: decision.into(), epoch: epoch.to_string() }))
    }

    async fn pay_order(&self, _: Request<PayOrderRequest>) -> Answer<PayOrderResponse> {
        Err(Status::permission_denied(""))
    }

    async fn refund_order(&self, _: Request<RefundOrderRequest>) -> Answer<RefundOrderResponse> {
        Err(Status::permission_denied(""))
    }

    async fn get_transfer(&self, _: Request<GetTransferRequest>) -> Answer<GetTransferResponse> {
        Err(Status::permission_denied(""))
    }

    async fn watch_transfer(&self, _: Request<WatchTransferRequest>) -> Answer<Self::WatchTransferStream> {
        Err(Status::permission_denied(""))
    }

    async fn explain_transfer(&self, _: Request<ExplainTransferRequest>) -> Answer<ExplainTransferResponse> {
        Err(Status::permission_denied(""))
    }

    async fn retry_transfer(&self, _: Request<RetryTransferRequest>) -> Answer<RetryTransferResponse> {
        Err(Status::permission_denied(""))
    }

    async fn cancel_transfer(&self, _: Request<CancelTransferRequest>) -> Answer<CancelTransferResponse> {
        Err(Status::permission_denied(""))
    }
}

/// The worker over a fresh book, with a coordinator to ask.
struct Bench {
    book: Book,
    coordinator: Coordinator,
    counters: Arc<ExpiryCounters>,
    worker: Expiry,
    stop: CancellationToken,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Bench {
    /// `url` is that of the coordinator when it is not the one of this bench.
    async fn open_with(url: Option<&str>) -> Self {
        let book = Book::open().await;
        let (coordinator, stop) = (Coordinator::default(), CancellationToken::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(TransferServiceServer::new(coordinator.clone()))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
        spawn(async move { server.await.unwrap() });

        let owner = Uuid::now_v7();
        book.store.mark_lease(CONSUMER, owner, Duration::from_secs(60)).await.unwrap().unwrap();
        let adopted = Mark { epoch: EPOCH, ..Mark::START };
        assert!(book.store.mark_adopt(CONSUMER, &Mark::START, &adopted).await.unwrap());

        let peer = Peer::new(
            "--order-url",
            transfer_service_server::SERVICE_NAME,
            url.unwrap_or(&own),
            Some(&"a-token-that-nobody-checks-here".into()),
            &Tls::off(),
        )
        .unwrap();
        let counters = Arc::new(ExpiryCounters::default());
        let worker = Expiry {
            store: book.store.clone(),
            orders: OrderClient::new(&peer),
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            options: ExpiryOptions {
                interval: Duration::from_millis(20),
                alarm_after: Duration::from_secs(60),
            },
            counters: Arc::clone(&counters),
        };
        Self { book, coordinator, counters, worker, stop }
    }

    async fn open() -> Self {
        Self::open_with(None).await
    }

    fn start(&self) {
        spawn(self.worker.clone().run(self.stop.clone()));
    }

    /// A debit that is held and was due so many seconds ago; negative when it is yet to come.
    async fn held(&self, seconds_ago: i64) -> HoldSpec {
        let ann = self.book.rich(100).await;
        let due = SystemClock.now() - time::Duration::seconds(seconds_ago);
        let hold = HoldSpec { expires_at: due, ..spec(ann, Direction::Debit, 60) };
        self.book.consume(&[reserve(&hold)]).await.unwrap();
        hold
    }

    async fn state(&self, hold: &HoldSpec) -> HoldState {
        self.book.hold(hold.transfer_id).await.unwrap().state
    }

    async fn until_ended(&self, hold: &HoldSpec, state: HoldState) {
        let ended = wait_until(WITHIN, "the hold to end", async || match self.state(hold).await {
            HoldState::Held => Err("it is held"),
            ended => Ok(ended),
        });
        assert_eq!(ended.await.unwrap(), state, "a hold ends as was decided");
    }

    /// Until it was asked about twice more: whatever comes of an answer has come by then.
    async fn until_asked_again(&self, hold: &HoldSpec) {
        let more = self.coordinator.times_asked(hold.transfer_id) + 2;
        let asked = wait_until(WITHIN, "the coordinator to be asked again", async || {
            match self.coordinator.times_asked(hold.transfer_id) {
                times if times >= more => Ok(()),
                times => Err(format!("asked {times} times")),
            }
        });
        asked.await.unwrap();
    }

    async fn until_alarmed(&self) {
        let alarmed =
            wait_until(WITHIN, "an alarm", async || match self.counters.alarms.load(Ordering::Relaxed) {
                0 => Err("none"),
                _ => Ok(()),
            });
        alarmed.await.unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's helper tasks end with its runtime")]
fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(future);
}

#[tokio::test]
async fn a_hold_past_its_time_ends_as_the_coordinator_says() {
    ends_as_the_coordinator_says().await;
}

pub(crate) async fn ends_as_the_coordinator_says() {
    let bench = Bench::open().await;
    let (confirmed, cancelled) = (bench.held(5).await, bench.held(5).await);
    bench.coordinator.says(confirmed.transfer_id, Says::Decided(Decision::Confirm));
    bench.coordinator.says(cancelled.transfer_id, Says::Decided(Decision::Cancel));
    bench.start();
    bench.until_ended(&confirmed, HoldState::Posted).await;
    bench.until_ended(&cancelled, HoldState::Cancelled).await;
    assert_eq!(bench.book.numbers(confirmed.owner).await, Numbers { balance: 40, held: 0, incoming: 0 });
    assert_eq!(bench.book.numbers(cancelled.owner).await, Numbers { balance: 100, held: 0, incoming: 0 });
    // The coordinator hears of it as of a command's answer.
    let answers = bench.book.answers().await;
    let of = |hold: &HoldSpec| {
        let id = format!("hold {}", hold.transfer_id);
        answers.iter().find(|answer| answer.aggregate == id && answer.version == 2).unwrap()
    };
    of(&confirmed).decode::<CreditPosted>();
    of(&cancelled).decode::<CreditReleased>();
    assert_eq!(bench.counters.alarms.load(Ordering::Relaxed), 0);
    bench.book.assert_sound().await;

    // The command arrives after all: a duplicate, with an answer of its own.
    bench.book.consume(&[confirm(confirmed.transfer_id)]).await.unwrap();
    assert_eq!(bench.book.numbers(confirmed.owner).await.balance, 40);
    bench.book.answers().await.pop().unwrap().decode::<CreditPosted>();
}

#[tokio::test]
async fn without_a_decision_a_hold_is_kept_and_complained_of() {
    let bench = Bench::open().await;
    let undecided = bench.held(120).await;
    bench.coordinator.says(undecided.transfer_id, Says::Decided(Decision::Unspecified));
    bench.start();
    bench.until_asked_again(&undecided).await;
    bench.until_alarmed().await;
    assert_eq!(bench.state(&undecided).await, HoldState::Held);
    assert_eq!(bench.book.numbers(undecided.owner).await, Numbers { balance: 100, held: 60, incoming: 0 });

    bench.coordinator.says(undecided.transfer_id, Says::Decided(Decision::Cancel));
    bench.until_ended(&undecided, HoldState::Cancelled).await;
}

#[tokio::test]
async fn an_answer_out_of_another_history_decides_nothing() {
    let bench = Bench::open().await;
    let hold = bench.held(120).await;
    bench.coordinator.says(hold.transfer_id, Says::OtherEpoch(Decision::Cancel));
    bench.start();
    bench.until_asked_again(&hold).await;
    bench.until_alarmed().await;
    assert_eq!(bench.state(&hold).await, HoldState::Held);
}

/// The coordinator's database may have been put back to a time before the transfer: it would presume it aborted.
#[tokio::test]
async fn while_the_consumer_is_halted_no_answer_counts() {
    let bench = Bench::open().await;
    let hold = bench.held(120).await;
    bench.coordinator.says(hold.transfer_id, Says::Decided(Decision::Cancel));
    let store = &bench.book.store;
    let at = store.standing(CONSUMER).await.unwrap().unwrap().mark;
    let held = store.resync_hold(CONSUMER, "stream_rewound", Duration::ZERO).await.unwrap();
    assert_eq!(held, Some(HoldClaim::Held(at)));
    bench.start();
    bench.until_alarmed().await;
    assert_eq!(bench.state(&hold).await, HoldState::Held);
    assert_eq!(bench.coordinator.times_asked(hold.transfer_id), 0);
    let done = Resynced { request_id: Uuid::new_v4(), aggregates: 0, position: at.position };
    assert!(store.resync_end(CONSUMER, &at, &at, Some("stream_rewound"), &done).await.unwrap());
    bench.until_ended(&hold, HoldState::Cancelled).await;
}

#[tokio::test]
async fn while_order_service_is_away_every_hold_is_kept() {
    // A port that was just given back.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let bench = Bench::open_with(Some(&format!("http://{port}"))).await;
    let hold = bench.held(120).await;
    bench.start();
    bench.until_alarmed().await;
    assert_eq!(bench.state(&hold).await, HoldState::Held);
    assert_eq!(bench.counters.ended.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_hold_that_gets_no_answer_does_not_keep_the_others_waiting() {
    let bench = Bench::open().await;
    let (silent, decided) = (bench.held(30).await, bench.held(10).await);
    bench.coordinator.says(silent.transfer_id, Says::Nothing);
    bench.coordinator.says(decided.transfer_id, Says::Decided(Decision::Cancel));
    bench.start();
    bench.until_ended(&decided, HoldState::Cancelled).await;
    assert!(bench.coordinator.times_asked(silent.transfer_id) > 0, "the older one was asked about first");
    assert_eq!(bench.state(&silent).await, HoldState::Held);
    assert_eq!(bench.counters.alarms.load(Ordering::Relaxed), 0, "half a minute is not old");
}

#[tokio::test]
async fn nobody_is_asked_about_a_hold_before_its_time() {
    let bench = Bench::open().await;
    let (early, late) = (bench.held(-600).await, bench.held(5).await);
    bench.coordinator.says(early.transfer_id, Says::Decided(Decision::Cancel));
    bench.coordinator.says(late.transfer_id, Says::Decided(Decision::Unspecified));
    bench.start();
    bench.until_asked_again(&late).await;
    assert_eq!(bench.coordinator.times_asked(early.transfer_id), 0);
    assert_eq!(bench.state(&early).await, HoldState::Held);
}

#[tokio::test]
async fn it_waits_for_whoever_has_locked_the_mark() {
    let bench = Bench::open().await;
    let hold = bench.held(5).await;
    bench.coordinator.says(hold.transfer_id, Says::Decided(Decision::Confirm));
    let mut consumer = bench.book.begin().await;
    consumer.mark_lock(CONSUMER).await.unwrap().unwrap();
    bench.start();
    bench.until_asked_again_once(&hold).await;
    assert_eq!(bench.state(&hold).await, HoldState::Held);
    consumer.rollback().await;
    bench.until_ended(&hold, HoldState::Posted).await;
}

#[tokio::test]
async fn two_replicas_end_a_hold_once() {
    let bench = Bench::open().await;
    let holds = [bench.held(5).await, bench.held(5).await, bench.held(5).await];
    for hold in &holds {
        bench.coordinator.says(hold.transfer_id, Says::Decided(Decision::Confirm));
    }
    bench.start();
    bench.start();
    for hold in &holds {
        bench.until_ended(hold, HoldState::Posted).await;
    }
    let posted =
        bench.book.answers().await.into_iter().filter(|answer| answer.kind.ends_with("CreditPosted"));
    assert_eq!(posted.count(), 3);
    assert_eq!(bench.counters.ended.load(Ordering::Relaxed), 3);
    bench.book.assert_sound().await;
}

impl Bench {
    async fn until_asked_again_once(&self, hold: &HoldSpec) {
        let asked = wait_until(WITHIN, "the coordinator to be asked", async || {
            match self.coordinator.times_asked(hold.transfer_id) {
                0 => Err("never"),
                _ => Ok(()),
            }
        });
        asked.await.unwrap();
    }
}

/// What the merchant has in order service's book for a transfer: it is posted there with the decision.
fn merchant_has(decision: Decision, hold: &HoldSpec) -> i64 {
    if decision == Decision::Confirm { hold.amount.minor_units } else { 0 }
}

/// What the wallet and the merchant have together, after the coordinator decided CONFIRM and its command was
/// applied as well: 100, as at the beginning, or money was made or lost.
async fn together(bench: &Bench, hold: &HoldSpec, owner: UserId) -> i64 {
    bench.book.consume(&[confirm(hold.transfer_id)]).await.unwrap();
    bench.book.numbers(owner).await.balance + merchant_has(Decision::Confirm, hold)
}

/// The reason for asking: a participant that lets go of a hold by its own clock makes money. This test would
/// notice if ours did.
#[tokio::test]
async fn letting_go_by_ones_own_clock_would_make_money_and_asking_does_not() {
    let bench = Bench::open().await;
    let asks = bench.held(5).await;
    bench.coordinator.says(asks.transfer_id, Says::Decided(Decision::Confirm));
    bench.start();
    bench.until_ended(&asks, HoldState::Posted).await;
    assert_eq!(together(&bench, &asks, asks.owner).await, 100);

    bench.stop.cancel();
    let naive = bench.held(5).await;
    bench.book.apply(&Step::Cancel(naive.transfer_id)).await.unwrap();
    assert_eq!(together(&bench, &naive, naive.owner).await, 160, "60 out of nothing");
}
