//! Steps that the tests of transfers share: somebody who sells, somebody who pays, a transfer that stands still.

use std::time::Duration;

use api::auth::v1::Role;
use api::common::v1::Money;
use api::order::v1::transfer::State;
use api::order::v1::*;
use sqlx::PgConnection;
use testkit::wait_until;
use tokio::sync::MutexGuard;
use tonic::{Response, Status};
use types::TransferId;
use uuid::Uuid;

use crate::harness::{Harness, Person, eur, request_id};
use crate::wallet::{Answer, Teller};

/// For what is slow on a busy machine only.
const PATIENCE: Duration = Duration::from_secs(25);

/// The flag of a service whose calls wait as long as the tests do.
pub(crate) const PATIENT: &str = "--request-deadline=25s";

/// A seller, a customer with a placed order of 500 cents, and somebody who answers for the wallets.
pub(crate) struct Scene {
    pub(crate) harness: Harness,
    pub(crate) teller: Teller,
    pub(crate) seller: Person,
    pub(crate) customer: Person,
    pub(crate) admin: Person,
    pub(crate) product: Product,
    pub(crate) order: Order,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With more flags.
    pub(crate) async fn with(flags: &[&str]) -> Self {
        Self::on(Box::pin(Harness::start_with(&[&[PATIENT], flags].concat())).await, eur(250)).await
    }

    /// With a pooler between the service and its database.
    pub(crate) async fn behind_pooler() -> Self {
        Self::on(Box::pin(Harness::start_behind_pooler(&[PATIENT])).await, eur(250)).await
    }

    /// On a service that was started with [`PATIENT`], with a product of this price.
    pub(crate) async fn on(harness: Harness, price: Money) -> Self {
        let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
        let product = seller.sell(price, 1000).await;
        let order = customer.buy(&product, 2).await;
        let (teller, admin) = (Teller::of(&harness).await, harness.person(Role::Admin));
        Self { harness, teller, seller, customer, admin, product, order }
    }

    pub(crate) async fn sql(&self) -> MutexGuard<'_, PgConnection> {
        self.teller.sql().await
    }

    pub(crate) fn paying(&self) -> PayOrderRequest {
        paying(&self.order)
    }

    pub(crate) async fn tell(&self, id: TransferId, answer: Answer) {
        self.teller.tell(&self.harness, &[(id, answer)]).await;
    }

    /// The transfer of a request, once it is there.
    pub(crate) async fn started(&self, request_id: &str) -> TransferId {
        let request_id = Uuid::parse_str(request_id).unwrap();
        wait_until(PATIENCE, "the transfer to start", async || {
            let id: Option<Uuid> = sqlx::query_scalar("SELECT id FROM transfers WHERE request_id = $1")
                .bind(request_id)
                .fetch_optional(&mut *self.sql().await)
                .await
                .unwrap();
            id.map(TransferId::from_uuid).ok_or("not there")
        })
        .await
        .unwrap()
    }

    /// Starts a payment and leaves it alone: nobody answers, and nobody waits.
    pub(crate) async fn start_payment(&self) -> TransferId {
        let request = self.paying();
        self.begin(pay(&self.customer, request.clone()), &request.request_id).await
    }

    /// Starts a refund by the seller and leaves it alone.
    pub(crate) async fn start_refund(&self, cents: i64) -> TransferId {
        let request = refunding(&self.order, cents);
        self.begin(refund(&self.seller, request.clone()), &request.request_id).await
    }

    /// The transfer that a call starts; the call itself is hung up.
    async fn begin<T>(&self, call: impl Future<Output = Result<T, Status>>, request_id: &str) -> TransferId {
        tokio::select! {
            id = self.started(request_id) => id,
            answer = call => panic!("nobody answered, and yet it ended: {:?}", answer.err()),
        }
    }

    /// A paid order: the payment has completed.
    pub(crate) async fn paid() -> Self {
        let scene = Box::pin(Self::new()).await;
        let id = Box::pin(scene.start_payment()).await;
        scene.teller.tell(&scene.harness, &[(id, Answer::Reserved), (id, Answer::Posted)]).await;
        assert_eq!(scene.transfer(id).await.state(), State::Completed);
        scene
    }

    pub(crate) async fn transfer(&self, id: TransferId) -> Transfer {
        let request = GetTransferRequest { transfer_id: id.to_string() };
        self.admin.caller.transfers().get_transfer(request).await.unwrap().into_inner().transfer.unwrap()
    }

    pub(crate) async fn order_state(&self) -> order::State {
        self.customer.order(&self.order.id).await.unwrap().state()
    }

    /// How many events of a type a transfer has.
    pub(crate) async fn sent(&self, id: TransferId, event_type: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM outbox WHERE aggregate_id = $1 AND type = 'order.v1.' || $2")
            .bind(id.to_string())
            .bind(event_type)
            .fetch_one(&mut *self.sql().await)
            .await
            .unwrap()
    }

    /// The types of a transfer's events, in order.
    pub(crate) async fn story(&self, id: TransferId) -> Vec<String> {
        let query =
            "SELECT substr(type, 10) FROM outbox WHERE aggregate_type = 'transfer' AND aggregate_id = $1
                     ORDER BY aggregate_version";
        sqlx::query_scalar(query).bind(id.to_string()).fetch_all(&mut *self.sql().await).await.unwrap()
    }
}

pub(crate) fn paying(order: &Order) -> PayOrderRequest {
    PayOrderRequest { request_id: request_id(), order_id: order.id.clone() }
}

pub(crate) fn refunding(order: &Order, cents: i64) -> RefundOrderRequest {
    RefundOrderRequest { request_id: request_id(), order_id: order.id.clone(), amount: Some(eur(cents)) }
}

pub(crate) async fn pay(
    person: &Person,
    request: PayOrderRequest,
) -> Result<Response<PayOrderResponse>, Status> {
    person.caller.within(PATIENCE).transfers().pay_order(request).await
}

pub(crate) async fn refund(
    person: &Person,
    request: RefundOrderRequest,
) -> Result<Response<RefundOrderResponse>, Status> {
    person.caller.within(PATIENCE).transfers().refund_order(request).await
}
