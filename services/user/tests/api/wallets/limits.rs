//! What admins do to wallets: freezing, unfreezing, limits.

use std::sync::Arc;
use std::time::Duration;

use api::user::v1::{
    AuditBookRequest, FreezeWalletRequest, SetWalletLimitsRequest, UnfreezeWalletRequest, Wallet,
    WalletFrozen, WalletLimitsChanged, WalletUnfrozen,
};
use bson::{Document, doc};
use events::participant::{Applied, Outcome, Refusal, Step, apply};
use events::{Direction, HoldSpec};
use futures_util::future::join_all;
use prost::Message as _;
use testkit::TestMongo;
use testkit::client::request_id;
use time::macros::datetime;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;
use types::{Clock as _, ManualClock};
use user_service::storage::Participant;
use uuid::Uuid;

use crate::book::{Book, commit_steps, spec};
use crate::harness::{Harness, Person, is_replay, refusal, refused};
use crate::wallets::ledger::{assert_balanced, trial_balance};
use crate::wallets::{balance, eur, grant, grant_of, rich, send, send_of, send_until_done, wallet_as};

/// Somebody with credit, at half past eleven of a day.
struct Scene {
    clock: Arc<ManualClock>,
    harness: Harness,
    book: Book,
    admin: Person,
    ann: Person,
    bob: Person,
    _mongo: TestMongo,
}

impl Scene {
    async fn open() -> Self {
        let clock = Arc::new(ManualClock::at(datetime!(2096-03-01 23:30 UTC)));
        let mongo = TestMongo::create().await.unwrap();
        let harness = Harness::start_on_by(clock.clone(), mongo.urls(), mongo.url(), &[]).await;
        let (book, admin) = (Book::open_on(mongo.urls()).await, harness.admin().await);
        let (ann, bob) = (rich(&harness, &admin, 1000).await, harness.customer().await);
        Self { clock, harness, book, admin, ann, bob, _mongo: mongo }
    }

    async fn freeze(&self) -> Result<Response<Wallet>, Status> {
        let request = FreezeWalletRequest {
            request_id: request_id(),
            user_id: self.ann.id.clone(),
            currency_code: "EUR".to_owned(),
            justification: "a card was stolen\nsays the police".to_owned(),
        };
        let frozen = self.admin.caller.wallets().freeze_wallet(request).await?;
        Ok(frozen.map(|answer| answer.wallet.unwrap()))
    }

    async fn limit(&self, payment: Option<i64>, day: Option<i64>) -> Wallet {
        let request = SetWalletLimitsRequest {
            request_id: request_id(),
            user_id: self.ann.id.clone(),
            currency_code: "EUR".to_owned(),
            payment_limit: payment.and_then(eur),
            day_limit: day.and_then(eur),
            justification: "as she asked".to_owned(),
        };
        let limited = self.admin.caller.wallets().set_wallet_limits(request).await.unwrap();
        limited.into_inner().wallet.unwrap()
    }

    async fn send(&self, minor_units: i64) -> Result<(), Status> {
        send(&self.ann, &send_of(&self.bob, minor_units)).await.map(|_| ())
    }

    /// A payment of hers for an order.
    fn paying(&self, minor_units: i64) -> HoldSpec {
        spec(self.ann.id.parse().unwrap(), Direction::Debit, minor_units)
    }

    /// A step at the time of the clock.
    async fn step(&self, step: Step) -> Applied {
        let mut steps = Participant::new(self.book.begin().await, self.clock.now());
        let applied = apply(&mut steps, &step).await.unwrap();
        commit_steps(steps).await.unwrap();
        applied
    }

    async fn reserve(&self, spec: &HoldSpec) -> Outcome {
        self.step(Step::Reserve(spec.clone())).await.outcome
    }

    async fn spent(&self) -> (i64, String) {
        let wallet = wallet_as(&self.ann, "").await.unwrap();
        (wallet.spent.map_or(0, |spent| spent.minor_units), wallet.spent_date)
    }

    /// What an audit of her wallets finds.
    async fn findings(&self) -> Vec<(String, i64)> {
        let request = AuditBookRequest { user_id: self.ann.id.clone(), ..AuditBookRequest::default() };
        let patient = self.admin.caller.within(Duration::from_secs(60));
        let mut pages = patient.wallet_audits().audit_book(request).await.unwrap().into_inner();
        let (mut findings, mut wallets) = (Vec::new(), 0);
        while let Some(page) = pages.message().await.unwrap() {
            assert!(page.lines.is_empty(), "nothing is said of the whole book");
            wallets += page.wallets_count;
            findings.extend(page.findings);
        }
        assert_eq!(wallets, 1, "only hers is followed");
        let told = |finding: api::user::v1::AuditFinding| {
            (finding.description, finding.difference.map_or(0, |money| money.minor_units))
        };
        findings.into_iter().map(told).collect()
    }
}

/// The reason of a refusal for a limit, which limit, and what is left of it.
fn limited(outcome: Result<(), Status>) -> (String, String, String) {
    let details = outcome.unwrap_err().get_error_details();
    let info = details.error_info().unwrap().clone();
    assert_eq!(info.metadata["currency_code"], "EUR");
    (info.reason, info.metadata["limit"].clone(), info.metadata["left_minor_units"].clone())
}

fn limit(limit: &str, left: &str) -> (String, String, String) {
    ("WALLET_LIMIT".to_owned(), limit.to_owned(), left.to_owned())
}

#[tokio::test]
async fn nothing_leaves_a_frozen_wallet_until_it_is_unfrozen() {
    let scene = Scene::open().await;
    let wallet = format!("users/{}/wallets/EUR", scene.ann.id);
    let frozen = refused(Code::FailedPrecondition, "WALLET_FROZEN", &[&wallet]);
    let answer = scene.freeze().await.unwrap().into_inner();
    assert!(answer.frozen && answer.balance == eur(1000));
    assert!(wallet_as(&scene.ann, "").await.unwrap().frozen, "she sees it");
    assert_eq!(refusal(scene.freeze().await), frozen, "it is frozen already");

    let refused_sending = send_of(&scene.bob, 1);
    assert_eq!(refusal(send(&scene.ann, &refused_sending).await), frozen);
    let paying = scene.paying(1);
    for _ in 0..2 {
        assert_eq!(scene.reserve(&paying).await, Outcome::Refused(Refusal::WalletFrozen));
    }
    // It still takes what comes.
    grant(&scene.admin, &grant_of(&scene.ann, 5)).await.unwrap();
    grant(&scene.admin, &grant_of(&scene.bob, 5)).await.unwrap();
    send(&scene.bob, &send_of(&scene.ann, 2)).await.unwrap();
    assert_eq!(balance(&scene.ann).await, 1007);

    let unfreeze = UnfreezeWalletRequest {
        request_id: request_id(),
        user_id: scene.ann.id.clone(),
        currency_code: "EUR".to_owned(),
        justification: "it was found".to_owned(),
    };
    let mut wallets = scene.admin.caller.wallets();
    let first = wallets.unfreeze_wallet(unfreeze.clone()).await.unwrap();
    assert!(!first.get_ref().wallet.as_ref().unwrap().frozen);
    scene.send(1).await.unwrap();
    // A repeat hears what it was, and changes nothing.
    scene.freeze().await.unwrap();
    let again = wallets.unfreeze_wallet(unfreeze.clone()).await.unwrap();
    assert!(is_replay(&again));
    assert_eq!(again.into_inner(), first.into_inner());
    assert_eq!(refusal(scene.send(1).await), frozen);
    let other = UnfreezeWalletRequest { justification: "never mind".to_owned(), ..unfreeze.clone() };
    assert_eq!(refusal(wallets.unfreeze_wallet(other).await).1, "REQUEST_ID_REUSED");
    wallets
        .unfreeze_wallet(UnfreezeWalletRequest { request_id: request_id(), ..unfreeze.clone() })
        .await
        .unwrap();
    let twice = wallets.unfreeze_wallet(UnfreezeWalletRequest { request_id: request_id(), ..unfreeze }).await;
    assert_eq!(refusal(twice), refused(Code::FailedPrecondition, "WALLET_NOT_FROZEN", &[&wallet]));
    // What was refused stays refused.
    assert_eq!(refusal(send(&scene.ann, &refused_sending).await), frozen);
    assert_eq!(scene.reserve(&paying).await, Outcome::Refused(Refusal::WalletFrozen));
    assert_balanced(&trial_balance(&scene.admin).await);
}

/// A release before this one reads what this one has refused, while both run: as a refusal that it knows.
#[tokio::test]
async fn to_an_older_release_a_barred_wallet_has_too_little() {
    let scene = Scene::open().await;
    scene.freeze().await.unwrap();
    let (paying, sending) = (scene.paying(1), send_of(&scene.bob, 1));
    scene.reserve(&paying).await;
    send(&scene.ann, &sending).await.unwrap_err();
    let database = &scene.harness.database;
    let id = doc! { "_id": bson::Uuid::from(paying.transfer_id.uuid()) };
    let hold = database.collection::<Document>("hold").find_one(id).await.unwrap().unwrap();
    assert_eq!(
        (hold.get_str("state").unwrap(), hold.get_str("refusal").unwrap()),
        ("CANCELLED", "INSUFFICIENT_CREDIT")
    );
    let id = doc! { "_id.request_id": bson::Uuid::parse_str(&sending.request_id).unwrap() };
    let kept = database.collection::<Document>("request").find_one(id).await.unwrap().unwrap();
    let outcome = kept.get_document("outcome").unwrap().get_document("send_refused").unwrap();
    let known = outcome.get_document("insufficient_credit").unwrap();
    assert_eq!((known.get_str("currency").unwrap(), known.get_i64("available").unwrap()), ("EUR", 0));
}

#[tokio::test]
async fn what_an_admin_does_to_a_wallet_is_told_and_recorded_with_its_reason() {
    let scene = Scene::open().await;
    scene.limit(Some(50), None).await;
    scene.freeze().await.unwrap();
    let unfreeze = UnfreezeWalletRequest {
        request_id: request_id(),
        user_id: scene.ann.id.clone(),
        currency_code: "EUR".to_owned(),
        justification: "it was found".to_owned(),
    };
    scene.admin.caller.wallets().unfreeze_wallet(unfreeze.clone()).await.unwrap();

    let mut events = scene.book.rows("outbox").await;
    events.retain(|event| event.get_str("type").unwrap().starts_with("user.v1.Wallet"));
    events.sort_by_key(|event| event.get_document("aggregate").unwrap().get_i64("version").unwrap());
    let (user_id, currency_code) = (scene.ann.id.clone(), "EUR".to_owned());
    let limits = WalletLimitsChanged { user_id, currency_code, payment_limit: eur(50), day_limit: None };
    let (user_id, currency_code) = (scene.ann.id.clone(), "EUR".to_owned());
    let frozen = WalletFrozen { user_id: user_id.clone(), currency_code: currency_code.clone() };
    let unfrozen = WalletUnfrozen { user_id, currency_code };
    let expected = [
        ("user.v1.WalletLimitsChanged", limits.encode_to_vec()),
        ("user.v1.WalletFrozen", frozen.encode_to_vec()),
        ("user.v1.WalletUnfrozen", unfrozen.encode_to_vec()),
    ];
    for ((event, (kind, payload)), version) in events.iter().zip(&expected).zip(2..) {
        assert_eq!(event.get_str("type").unwrap(), *kind);
        assert_eq!(event.get_binary_generic("payload").unwrap(), payload);
        let aggregate = event.get_document("aggregate").unwrap();
        assert_eq!(aggregate.get_str("id").unwrap(), format!("{}:EUR", scene.ann.id));
        assert_eq!(aggregate.get_i64("version").unwrap(), version, "the grant was the first event");
    }
    assert_eq!(events.len(), expected.len());

    let mut acts = scene.book.rows("wallet_act").await;
    acts.sort_by_key(|act| act.get_str("act").unwrap().to_owned());
    let told = |act: &Document| {
        let justification = act.get_str("justification").unwrap().to_owned();
        (act.get_str("act").unwrap().to_owned(), act.get_i64("payment_limit").ok(), justification)
    };
    assert_eq!(
        acts.iter().map(told).collect::<Vec<_>>(),
        [
            ("FREEZE".to_owned(), None, "a card was stolen\nsays the police".to_owned()),
            ("SET_LIMITS".to_owned(), Some(50), "as she asked".to_owned()),
            ("UNFREEZE".to_owned(), None, "it was found".to_owned()),
        ]
    );
    let request = doc! { "request_id": bson::Uuid::parse_str(&unfreeze.request_id).unwrap() };
    assert_eq!(scene.harness.count("wallet_act", request).await, 1);
    assert!(acts.iter().all(|act| act.get_str("caller").unwrap().contains(&scene.admin.id)));
}

#[tokio::test]
async fn a_wallet_that_nothing_ever_touched_can_be_frozen_and_what_comes_first_stays_in_it() {
    let scene = Scene::open().await;
    let freeze = |user_id: &str, currency_code: &str| FreezeWalletRequest {
        request_id: request_id(),
        user_id: user_id.to_owned(),
        currency_code: currency_code.to_owned(),
        justification: "unasked".to_owned(),
    };
    let mut wallets = scene.admin.caller.wallets();
    let frozen = wallets.freeze_wallet(freeze(&scene.bob.id, "EUR")).await.unwrap().into_inner();
    assert_eq!(frozen.wallet.unwrap().balance, eur(0));
    scene.send(5).await.unwrap();
    assert_eq!(refusal(send(&scene.bob, &send_of(&scene.ann, 1)).await).1, "WALLET_FROZEN");
    assert_eq!(balance(&scene.bob).await, 5);

    let nobody = Uuid::now_v7().to_string();
    assert_eq!(
        refusal(wallets.freeze_wallet(freeze(&nobody, "EUR")).await),
        refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {nobody}")])
    );
    assert_eq!(
        refusal(wallets.freeze_wallet(freeze(&scene.bob.id, "HRK")).await),
        refused(Code::InvalidArgument, "INVALID_REQUEST", &["currency_code CURRENCY_WITHDRAWN"])
    );
}

#[tokio::test]
async fn sendings_and_reserves_of_a_day_stay_below_its_limit_together() {
    let scene = Scene::open().await;
    // Spent before there was a limit.
    scene.send(100).await.unwrap();
    let limits = scene.limit(Some(80), Some(250)).await;
    assert_eq!((limits.payment_limit, limits.day_limit), (eur(80), eur(250)));
    assert_eq!(limited(scene.send(81).await), limit("PAYMENT", "80"));
    let (paid, too_much) = (scene.paying(80), scene.paying(81));
    assert_eq!(scene.reserve(&too_much).await, Outcome::Refused(Refusal::WalletLimit));
    assert_eq!(scene.reserve(&paid).await, Outcome::Reserved);
    assert_eq!(limited(scene.send(71).await), limit("DAY", "70"));
    let released = scene.paying(70);
    assert_eq!(scene.reserve(&released).await, Outcome::Reserved);
    assert_eq!(limited(scene.send(1).await), limit("DAY", "0"));
    assert_eq!(scene.spent().await, (250, "2096-03-01".to_owned()));
    // A payment that is posted stays counted, one that is released gives back what it took.
    assert_eq!(scene.step(Step::Confirm(paid.transfer_id)).await.outcome, Outcome::Posted);
    assert_eq!(limited(scene.send(1).await), limit("DAY", "0"));
    assert_eq!(scene.step(Step::Cancel(released.transfer_id)).await.outcome, Outcome::Released);
    assert_eq!(scene.spent().await.0, 180);
    scene.send(70).await.unwrap();

    // What is reserved today and released tomorrow gives nothing back of tomorrow.
    scene.limit(None, Some(300)).await;
    let of_today = scene.paying(50);
    assert_eq!(scene.reserve(&of_today).await, Outcome::Reserved);
    scene.clock.advance(time::Duration::minutes(30));
    scene.send(200).await.unwrap();
    assert_eq!(scene.spent().await, (200, "2096-03-02".to_owned()));
    assert_eq!(scene.step(Step::Cancel(of_today.transfer_id)).await.outcome, Outcome::Released);
    assert_eq!(limited(scene.send(101).await), limit("DAY", "100"));

    // A clock that is behind does not bring yesterday's limit back.
    scene.clock.advance(time::Duration::minutes(-5));
    assert_eq!(limited(scene.send(101).await), limit("DAY", "100"));
    scene.send(100).await.unwrap();
    assert_eq!(scene.spent().await, (300, "2096-03-02".to_owned()));
    // Without limits everything may leave again.
    let unlimited = scene.limit(None, None).await;
    assert_eq!((unlimited.payment_limit, unlimited.day_limit), (None, None));
    scene.send(100).await.unwrap();
    assert_balanced(&trial_balance(&scene.admin).await);
}

#[tokio::test]
async fn of_many_payments_at_once_as_many_get_through_as_the_limit_has_room_for() {
    let scene = Scene::open().await;
    scene.limit(None, Some(55)).await;
    let sends = join_all(
        (0..10).map(|_| async { send_until_done(&scene.ann, &send_of(&scene.bob, 10)).await.map(|_| ()) }),
    );
    let outcomes = sends.await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
    assert!(outcomes.into_iter().filter(Result::is_err).all(|outcome| limited(outcome) == limit("DAY", "5")));
    assert_eq!((scene.spent().await.0, balance(&scene.bob).await), (50, 50));
}

/// Without a posted transfer, of which the other book would be asked: that is in tests/e2e/audit.
#[tokio::test]
async fn an_audit_of_a_user_adds_up_the_day_and_follows_the_chain() {
    let scene = Scene::open().await;
    assert_eq!(scene.findings().await, []);
    scene.send(30).await.unwrap();
    let (held, released) = (scene.paying(20), scene.paying(10));
    for hold in [&held, &released] {
        assert_eq!(scene.reserve(hold).await, Outcome::Reserved);
    }
    assert_eq!(scene.findings().await, []);
    assert_eq!(scene.step(Step::Cancel(released.transfer_id)).await.outcome, Outcome::Released);
    assert_eq!(scene.findings().await, []);
    let owner = bson::Uuid::parse_str(&scene.ann.id).unwrap();
    let hers = doc! { "_id.owner": owner };
    let change = async |collection: &str, filter: &Document, change: Document| {
        let documents = scene.harness.database.collection::<Document>(collection);
        let changed = documents.update_one(filter.clone(), change).await.unwrap();
        assert_eq!(changed.modified_count, 1, "{collection} {filter}");
    };
    for (more, difference) in [(-1_i64, -1), (2, 1)] {
        change("wallet", &hers, doc! { "$inc": { "spent.amount": more } }).await;
        let counted = 50 + difference;
        let what = format!("counts 0.{counted} EUR on 2096-03-01, and 0.50 EUR left it or are held");
        assert_eq!(scene.findings().await, [(what, difference)]);
    }
    change("wallet", &hers, doc! { "$inc": { "spent.amount": -1_i64 } }).await;
    let first = doc! { "owner": owner, "currency": "EUR", "sequence": 1_i64 };
    change("entry", &first, doc! { "$set": { "kind": "RECEIVE" } }).await;
    assert_ne!(scene.findings().await, []);
    change("entry", &first, doc! { "$set": { "kind": "GRANT" } }).await;

    // The next day, by clocks of which one is behind.
    scene.clock.advance(time::Duration::HOUR);
    assert_eq!(scene.reserve(&scene.paying(7)).await, Outcome::Reserved);
    scene.clock.advance(-time::Duration::HOUR);
    scene.send(4).await.unwrap();
    assert_eq!(scene.spent().await, (11, "2096-03-02".to_owned()));
    assert_eq!(scene.findings().await, []);
}
