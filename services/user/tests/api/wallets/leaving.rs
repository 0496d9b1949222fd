//! What must not leave a wallet any more, once that has been answered: races of payments with whatever ends them.

use api::user::v1::{DeactivateUserRequest, FreezeWalletRequest};
use events::participant::{Outcome, Refusal, Step, apply};
use events::{Direction, StoreError};
use futures_util::future::{join, join_all};
use testkit::TestMongo;
use testkit::client::request_id;
use types::UserId;

use crate::book::{Book, commit_steps, spec};
use crate::harness::{Harness, Person, refusal};
use crate::wallets::ledger::{assert_balanced, trial_balance};
use crate::wallets::{is_to_be_repeated, rich, send, send_of};

/// More than one round needs for a payment to be between its look and its commit when the end is answered.
const ROUNDS: usize = 25;
const PAYERS: usize = 6;

/// A service, and the participant on the same database.
struct Scene {
    harness: Harness,
    book: Book,
    admin: Person,
    _mongo: TestMongo,
}

/// What ends all payments of somebody.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Deactivated,
    Frozen,
}

impl Scene {
    async fn open() -> Self {
        let mongo = TestMongo::create().await.unwrap();
        let harness = Harness::start_on(mongo.urls(), mongo.url(), &[]).await;
        let (book, admin) = (Book::open_on(mongo.urls()).await, harness.admin().await);
        Self { harness, book, admin, _mongo: mongo }
    }

    /// Ends the payments of somebody, and waits for the answer.
    async fn end(&self, end: End, whom: &Person) {
        let (users, wallets) = (self.admin.caller.users(), self.admin.caller.wallets());
        let deactivate = DeactivateUserRequest {
            request_id: request_id(),
            user_id: whom.id.clone(),
            ..DeactivateUserRequest::default()
        };
        let freeze = FreezeWalletRequest {
            request_id: request_id(),
            user_id: whom.id.clone(),
            currency_code: "EUR".to_owned(),
            justification: "a phone was stolen".to_owned(),
        };
        loop {
            let ended = match end {
                End::Deactivated => users.clone().deactivate_user(deactivate.clone()).await.map(|_| ()),
                End::Frozen => wallets.clone().freeze_wallet(freeze.clone()).await.map(|_| ()),
            };
            match ended {
                Err(status) if is_to_be_repeated(&status) => {}
                ended => return ended.unwrap(),
            }
        }
    }
}

fn owner(person: &Person) -> UserId {
    person.id.parse().unwrap()
}

/// The naive version reads whether the user is active in the payment's snapshot, and fails here.
#[tokio::test]
async fn what_began_before_the_end_does_not_commit_after_it() {
    let scene = Scene::open().await;
    for (end, refused) in [(End::Deactivated, Refusal::UserDeactivated), (End::Frozen, Refusal::WalletFrozen)]
    {
        let ann = rich(&scene.harness, &scene.admin, 100).await;
        let reserve = spec(owner(&ann), Direction::Debit, 60);
        let mut steps = scene.book.begin_steps().await;
        let step = Step::Reserve(reserve);
        assert_eq!(apply(&mut steps, &step).await.unwrap().outcome, Outcome::Reserved);
        scene.end(end, &ann).await;
        let late = commit_steps(steps).await;
        assert!(matches!(late, Err(StoreError::Transient(_))), "{end:?}: {late:?}");
        // Tried again, it is refused.
        assert_eq!(scene.book.apply(&step).await.unwrap().outcome, Outcome::Refused(refused), "{end:?}");
        assert_eq!(scene.book.numbers(owner(&ann)).await.held, 0);
    }
}

#[tokio::test]
async fn once_it_is_answered_no_sending_commits() {
    let scene = Scene::open().await;
    let bob = scene.harness.customer().await;
    let mut sent_in_all = 0;
    for round in 0..ROUNDS {
        let end = if round % 2 == 0 { End::Deactivated } else { End::Frozen };
        let reason = if end == End::Deactivated { "USER_DEACTIVATED" } else { "WALLET_FROZEN" };
        let ann = rich(&scene.harness, &scene.admin, 1000).await;
        let payments = join_all((0..PAYERS).map(|_| async {
            let mut sent = 0;
            loop {
                match send(&ann, &send_of(&bob, 1)).await {
                    Ok(_) => sent += 1,
                    Err(status) if is_to_be_repeated(&status) => {}
                    refused => {
                        assert_eq!(refusal(refused).1, reason);
                        return sent;
                    }
                }
            }
        }));
        let ended = async {
            scene.end(end, &ann).await;
            scene.book.numbers(owner(&ann)).await
        };
        let (sent, then) = join(payments, ended).await;
        let sent: i64 = sent.into_iter().sum();
        assert_eq!(scene.book.numbers(owner(&ann)).await, then, "{end:?}: it was answered before");
        assert!(then.balance <= 1000 - sent, "an answer that was lost may be of one that was sent");
        sent_in_all += sent;
    }
    assert!(sent_in_all > 0, "payments and ends met");
    assert_balanced(&trial_balance(&scene.admin).await);
}

#[tokio::test]
async fn once_it_is_answered_no_reserve_commits() {
    let scene = Scene::open().await;
    for round in 0..ROUNDS {
        let end = if round % 2 == 0 { End::Deactivated } else { End::Frozen };
        let ann = rich(&scene.harness, &scene.admin, 1000).await;
        let reserves = join_all((0..PAYERS).map(|_| async {
            loop {
                let step = Step::Reserve(spec(owner(&ann), Direction::Debit, 1));
                match scene.book.apply(&step).await.unwrap().outcome {
                    Outcome::Reserved => {}
                    Outcome::Refused(Refusal::UserDeactivated) if end == End::Deactivated => return,
                    Outcome::Refused(Refusal::WalletFrozen) if end == End::Frozen => return,
                    other => panic!("{end:?}: {other:?}"),
                }
            }
        }));
        let ended = async {
            scene.end(end, &ann).await;
            scene.book.numbers(owner(&ann)).await
        };
        let (_, then) = join(reserves, ended).await;
        assert_eq!(scene.book.numbers(owner(&ann)).await, then, "{end:?}: it was answered before");
    }
    scene.book.assert_sound().await;
}

/// What order service has decided is carried out, and credit still arrives.
#[tokio::test]
async fn whoever_may_not_pay_any_more_is_still_paid() {
    let scene = Scene::open().await;
    for end in [End::Deactivated, End::Frozen] {
        let ann = rich(&scene.harness, &scene.admin, 100).await;
        let [paid, released] = [30, 20].map(|amount| spec(owner(&ann), Direction::Debit, amount));
        for hold in [&paid, &released] {
            let reserve = Step::Reserve(hold.clone());
            assert_eq!(scene.book.apply(&reserve).await.unwrap().outcome, Outcome::Reserved);
        }
        scene.end(end, &ann).await;
        let refund = spec(owner(&ann), Direction::Credit, 7);
        for (step, outcome) in [
            (Step::Confirm(paid.transfer_id), Outcome::Posted),
            (Step::Cancel(released.transfer_id), Outcome::Released),
            (Step::Reserve(refund.clone()), Outcome::Reserved),
            (Step::Confirm(refund.transfer_id), Outcome::Posted),
        ] {
            assert_eq!(scene.book.apply(&step).await.unwrap().outcome, outcome, "{end:?}: {step:?}");
        }
        assert_eq!(scene.book.numbers(owner(&ann)).await.balance, 77);
    }
    scene.book.assert_sound().await;
}
