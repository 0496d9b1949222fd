//! Moments that only come when the other service is late: what operators do to a transfer that is undecided, and an
//! order of somebody whom order service has not heard of.

use std::cell::RefCell;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use api::order::v1::{CancelTransferRequest, PayOrderRequest, PlaceOrderRequest, RetryTransferRequest};
use testkit::ServiceName::Order;
use testkit::client::{Person, request_id};
use tonic::Status;

use super::held_stream::{HeldStream, Stream};
use super::payments::balances;
use super::{Kind, prepared};
use crate::people::{PRICE, pay};
use crate::status::metadata;
use crate::sweep::operation::{Changes, Doing, Measures, Operation, by};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, Way};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "CancelTransfer",
        commits: &[Commit::Transaction(Order, "cancel_transfer")],
        way: Way::CANCELLED,
        moments: &[],
        prepare: |stage| prepared(Operator::new(stage, Act::Cancel)),
    },
    Kind {
        name: "RetryTransfer",
        commits: &[Commit::Transaction(Order, "retry_transfer")],
        way: Way::PAID,
        moments: &[],
        prepare: |stage| prepared(Operator::new(stage, Act::Retry)),
    },
    Kind {
        name: "PlaceUnheard",
        commits: &[Commit::Transaction(Order, "learn_customer")],
        way: Way::of(&["user", "order"], &["order.customers", "user.statistics"]),
        moments: &[],
        prepare: |stage| prepared(async move { Ok(PlaceUnheard::new(stage)) }),
    },
];

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Cancel,
    Retry,
}

/// An operator's act on a payment whose wallet side does not answer yet: stream `user` is held meanwhile.
pub(super) struct Operator {
    stage: Arc<Stage>,
    act: Act,
    payment: PayOrderRequest,
    request_id: String,
    transfer_id: RefCell<Option<String>>,
    stream: HeldStream,
}

impl Operator {
    pub(super) async fn new(stage: Arc<Stage>, act: Act) -> Result<Self> {
        let payment = pay(&stage.market.order(1).await?);
        Ok(Self {
            stage,
            act,
            payment,
            request_id: request_id(),
            transfer_id: RefCell::new(None),
            stream: HeldStream::new(Stream::User),
        })
    }

    /// Starts the payment, which cannot be decided while the stream is held.
    async fn transfer_id(&self) -> Result<String, Status> {
        let known = self.transfer_id.borrow().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        self.stream.hold(&self.stage).await.map_err(|error| Status::unknown(format!("{error:#}")))?;
        let impatient = self.stage.market.buyer.caller.within(std::time::Duration::from_secs(1));
        let started = impatient.transfers().pay_order(self.payment.clone()).await;
        let Err(status) = started else { return Err(Status::unknown("the payment was decided")) };
        let id = metadata(&status, "transfer_id").ok_or(status)?;
        self.transfer_id.replace(Some(id.clone()));
        Ok(id)
    }
}

impl Operation for Operator {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let (request_id, transfer_id) = (self.request_id.clone(), self.transfer_id().await?);
            let mut admin = self.stage.system.admin.caller.transfers();
            let transfer = match self.act {
                Act::Cancel => {
                    let request = CancelTransferRequest { request_id, transfer_id };
                    admin.cancel_transfer(request).await?.into_inner().transfer
                }
                Act::Retry => {
                    let request = RetryTransferRequest { request_id, transfer_id };
                    admin.retry_transfer(request).await?.into_inner().transfer
                }
            };
            let released = self.stream.release(&self.stage).await;
            released.map_err(|error| Status::unknown(format!("{error:#}")))?;
            Ok(format!("{transfer:?}"))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(balances(&self.stage, &self.stage.market.buyer))
    }

    fn effect(&self) -> Changes {
        match self.act {
            // Commands to reserve and to cancel, and the end; reserved, and released.
            Act::Cancel => vec![("events of order", by(3)), ("events of user", by(2))],
            // A command to reserve and an answer more than without the operator.
            Act::Retry => vec![
                ("credit", by(-PRICE)),
                ("earned", by(PRICE)),
                ("orders paid", by(1)),
                ("events of order", by(5)),
                ("events of user", by(3)),
            ],
        }
    }

    fn finish(&self) -> Doing<'_, Result<()>> {
        Box::pin(self.stream.release(&self.stage))
    }
}

/// Order service asks user service for the customer, whose event has not come.
pub(super) struct PlaceUnheard {
    stage: Arc<Stage>,
    request: PlaceOrderRequest,
    customer: tokio::sync::OnceCell<Person>,
    stream: HeldStream,
}

impl PlaceUnheard {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        let request = stage.market.order_request(1);
        Self { stage, request, customer: tokio::sync::OnceCell::new(), stream: HeldStream::new(Stream::User) }
    }

    async fn customer(&self) -> Result<&Person> {
        let sign_up = || async {
            self.stream.hold(&self.stage).await?;
            self.stage.system.api.sign_up("Unheard").await.context("signing up")
        };
        self.customer.get_or_try_init(sign_up).await
    }
}

impl Operation for PlaceUnheard {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let unknown = |error: anyhow::Error| Status::unknown(format!("{error:#}"));
            let customer = self.customer().await.map_err(unknown)?;
            let placed = customer.caller.orders().place_order(self.request.clone()).await?.into_inner();
            self.stream.release(&self.stage).await.map_err(unknown)?;
            Ok(format!("{placed:?}"))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async {
            let placed = match self.customer.get() {
                None => 0,
                Some(customer) => {
                    let user = self.stage.user(&customer.user_id).await?;
                    user.order_statistics.unwrap_or_default().placed_count
                }
            };
            Ok(vec![("stock", self.stage.market.stock().await?), ("orders placed", placed)])
        })
    }

    fn effect(&self) -> Changes {
        vec![
            ("stock", by(-1)),
            ("orders placed", by(1)),
            ("events of order", by(1)),
            ("events of user", by(1)),
        ]
    }

    fn finish(&self) -> Doing<'_, Result<()>> {
        Box::pin(self.stream.release(&self.stage))
    }
}
