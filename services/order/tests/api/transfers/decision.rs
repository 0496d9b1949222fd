//! `GetDecision`: what a participant hears whose hold is past its time.

use std::time::Duration;

use api::order::v1::transfer::{Decision, State};
use api::order::v1::{GetDecisionRequest, GetDecisionResponse};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::book::assert_books_balance;
use crate::paying::Scene;
use crate::refusal::assert_refused;
use crate::wallet::Answer;

const SOON: Duration = Duration::from_secs(20);

impl Scene {
    async fn epoch(&self) -> Uuid {
        let query = "SELECT epoch FROM outbox_lease WHERE stream = 'order'";
        sqlx::query_scalar(query).fetch_one(&mut *self.sql().await).await.unwrap()
    }

    async fn ask(&self, id: impl ToString, epoch: impl ToString) -> Result<GetDecisionResponse, Status> {
        self.ask_at(id, epoch, 0, None).await
    }

    /// Asks as a participant with this mark.
    async fn ask_at(
        &self,
        id: impl ToString,
        epoch: impl ToString,
        position: i64,
        event_id: Option<Uuid>,
    ) -> Result<GetDecisionResponse, Status> {
        let request = GetDecisionRequest {
            transfer_id: id.to_string(),
            epoch: epoch.to_string(),
            position,
            event_id: event_id.map(|id| id.to_string()).unwrap_or_default(),
        };
        Ok(self.harness.peer_service().transfers().get_decision(request).await?.into_inner())
    }

    /// As [`Scene::ask`], in the present epoch, which must come back.
    async fn decision(&self, id: impl ToString) -> Decision {
        let epoch = self.epoch().await;
        let answer = self.ask(id, epoch).await.unwrap();
        assert_eq!(answer.epoch, epoch.to_string());
        answer.decision()
    }

    pub(crate) async fn let_time_run_out(&self) {
        let query = "UPDATE transfers SET deadline = now() - interval '1 second' WHERE decision IS NULL";
        sqlx::query(query).execute(&mut *self.sql().await).await.unwrap();
    }
}

#[tokio::test]
async fn an_undecided_transfer_has_no_decision_until_its_time_is_over() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    assert_eq!(scene.decision(id).await, Decision::Unspecified);
    assert_eq!(scene.transfer(id).await.state(), State::Reserving);
    scene.let_time_run_out().await;
    assert_eq!(scene.decision(id).await, Decision::Cancel);
    let transfer = scene.transfer(id).await;
    assert_eq!((transfer.state(), transfer.reason.as_str()), (State::Cancelling, "TRANSFER_EXPIRED"));
    assert_eq!(scene.sent(id, "CreditCancelRequested").await, 1);
    assert_eq!(scene.decision(id).await, Decision::Cancel);
    assert_eq!(scene.sent(id, "CreditCancelRequested").await, 1, "asked twice, decided once");
    // The reserve was only slow: it changes nothing any more.
    scene.tell(id, Answer::Reserved).await;
    assert_eq!(scene.transfer(id).await.state(), State::Cancelling);
    scene.tell(id, Answer::Released).await;
    assert_eq!(
        (scene.decision(id).await, scene.transfer(id).await.state()),
        (Decision::Cancel, State::Cancelled)
    );
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn a_confirmed_transfer_stays_confirmed_whatever_the_time() {
    let scene = Scene::new().await;
    let id = scene.start_payment().await;
    scene.tell(id, Answer::Reserved).await;
    let query = "UPDATE transfers SET deadline = now() - interval '1 day'";
    sqlx::query(query).execute(&mut *scene.sql().await).await.unwrap();
    assert_eq!(scene.decision(id).await, Decision::Confirm);
    assert_eq!(scene.transfer(id).await.state(), State::Confirming);
    scene.tell(id, Answer::Posted).await;
    assert_eq!(
        (scene.decision(id).await, scene.transfer(id).await.state()),
        (Decision::Confirm, State::Completed)
    );
}

#[tokio::test]
async fn an_answer_that_comes_after_the_time_decides_cancel() {
    let scene = Scene::paid().await;
    let id = scene.start_refund(100).await;
    scene.let_time_run_out().await;
    scene.tell(id, Answer::Reserved).await;
    let transfer = scene.transfer(id).await;
    assert_eq!((transfer.state(), transfer.reason.as_str()), (State::Cancelling, "TRANSFER_EXPIRED"));
    assert_eq!(scene.decision(id).await, Decision::Cancel);
    assert_books_balance(&scene.harness).await;
}

#[tokio::test]
async fn an_unknown_transfer_is_cancel_in_this_history_and_unknown_in_another() {
    let scene = Scene::new().await;
    let unknown = Uuid::now_v7();
    assert_eq!(scene.decision(unknown).await, Decision::Cancel);
    let other = scene.ask(unknown, Uuid::new_v4()).await.unwrap();
    assert_eq!((other.decision(), other.epoch), (Decision::Unspecified, scene.epoch().await.to_string()));
    // The database was moved to another server, and the sequencer has not noticed yet: its epoch means nothing.
    let epoch = scene.epoch().await;
    let moved =
        "UPDATE outbox_lease SET system_identifier = '1', owner = gen_random_uuid(), fence = fence + 1,
                        lease_until = now() + interval '1 hour'";
    sqlx::query(moved).execute(&mut *scene.sql().await).await.unwrap();
    let answer = scene.ask(unknown, epoch).await.unwrap();
    assert_eq!((answer.decision(), answer.epoch), (Decision::Unspecified, Uuid::nil().to_string()));
}

/// A backup that was restored over its own server has the epoch of what it lost. There an unknown transfer may have
/// been confirmed: only a mark that is still in the history makes "unknown" mean "never".
#[tokio::test]
async fn an_unknown_transfer_is_unknown_to_who_has_seen_what_this_history_lacks() {
    let scene = Scene::new().await;
    let (unknown, known) = (Uuid::now_v7(), scene.start_payment().await);
    let epoch = scene.epoch().await;
    let stamped =
        "SELECT event_id, position FROM outbox WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1";
    let (event_id, position): (Uuid, i64) = testkit::wait_until(SOON, "an event to be stamped", async || {
        sqlx::query_as(stamped).fetch_one(&mut *scene.sql().await).await
    })
    .await
    .unwrap();
    let ask = async |id: String, position, event_id| {
        let answer = scene.ask_at(id, epoch, position, Some(event_id)).await.unwrap();
        (answer.decision(), answer.epoch)
    };
    assert_eq!(ask(unknown.to_string(), position, event_id).await, (Decision::Cancel, epoch.to_string()));
    let nowhere = (Decision::Unspecified, Uuid::nil().to_string());
    assert_eq!(ask(unknown.to_string(), position, Uuid::now_v7()).await, nowhere, "another event is there");
    assert_eq!(ask(unknown.to_string(), position + 100, event_id).await, nowhere, "none is there");
    scene.let_time_run_out().await;
    let (_, epoch) = ask(known.to_string(), position + 100, event_id).await;
    assert_eq!(epoch, Uuid::nil().to_string(), "whatever it is, it is not for this caller's history");
}

#[tokio::test]
async fn only_user_service_asks_and_its_request_is_checked() {
    let scene = Scene::new().await;
    let (transfer_id, epoch, event_id) = ("x".to_owned(), "y".to_owned(), "z".to_owned());
    let request = GetDecisionRequest { transfer_id, epoch, position: -1, event_id };
    let status = scene.admin.caller.transfers().get_decision(request.clone()).await.unwrap_err();
    assert_refused(&status, Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    let status = scene.harness.peer_service().transfers().get_decision(request).await.unwrap_err();
    let broken = ["transfer_id INVALID_ID", "epoch INVALID_ID", "event_id INVALID_ID", "position NEGATIVE"];
    assert_refused(&status, Code::InvalidArgument, "INVALID_REQUEST", &broken);
}

/// Many ask at once while the answer arrives: one decision, the same for all who ask afterwards.
#[tokio::test]
async fn an_expiry_that_races_the_answer_has_one_winner() {
    for _ in 0..10 {
        let scene = Scene::new().await;
        let id = scene.start_payment().await;
        let query = "UPDATE transfers SET deadline = now() + interval '20 milliseconds'";
        sqlx::query(query).execute(&mut *scene.sql().await).await.unwrap();
        let asked = futures_util::future::join_all((0..8).map(|_| scene.decision(id)));
        let (heard, ()) = tokio::join!(asked, scene.tell(id, Answer::Reserved));
        let decided = scene.decision(id).await;
        let decided = if decided == Decision::Unspecified {
            scene.let_time_run_out().await;
            scene.decision(id).await
        } else {
            decided
        };
        assert!(
            heard.iter().all(|each| [Decision::Unspecified, decided].contains(each)),
            "{heard:?} {decided:?}"
        );
        assert_books_balance(&scene.harness).await;
    }
}
