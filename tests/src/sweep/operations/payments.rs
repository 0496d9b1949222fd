//! Payments and refunds: credit between the two services.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use api::order::v1::{PayOrderRequest, RefundOrderRequest};
use testkit::ServiceName::{Order, User};
use testkit::client::Person;
use tokio::task::JoinSet;
use tonic::Status;

use super::{Kind, prepared};
use crate::people::{PRICE, earned, pay, refund};
use crate::sweep::operation::{Changes, Doing, Measures, Operation, by};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, Way, point};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "Pay",
        commits: &[Commit::Statement(Order, "pay_order")],
        way: Way::PAID,
        moments: &[point(Order, "relay.published_one", "order")],
        prepare: |stage| prepared(Pay::new(stage)),
    },
    Kind {
        name: "PayTooMuch",
        commits: &[],
        way: Way::REFUSED,
        moments: &[],
        prepare: |stage| prepared(Pay::too_much(stage)),
    },
    // Only many at once make user service publish several events together.
    Kind {
        name: "PayMany",
        commits: &[],
        way: Way::PAID,
        moments: &[point(User, "relay.published_one", "user"), point(Order, "relay.published_one", "order")],
        prepare: |stage| prepared(PayMany::new(stage)),
    },
    Kind {
        name: "Refund",
        commits: &[Commit::Transaction(Order, "refund_order")],
        way: Way::POSTED,
        moments: &[point(Order, "relay.published_one", "order")],
        prepare: |stage| prepared(Refund::new(stage)),
    },
];

/// How many payments are many: so that some of their events share a transaction.
const MANY: i64 = 8;

/// What a payer and the merchant have.
pub(super) async fn balances(stage: &Stage, payer: &Person) -> Result<Measures> {
    let (credit, held) = stage.wallet(&payer.user_id).await?;
    let paid = stage.user(&payer.user_id).await?.order_statistics.unwrap_or_default().paid_count;
    let earned = earned(&stage.market.seller).await?;
    Ok(vec![("credit", credit), ("held credit", held), ("earned", earned), ("orders paid", paid)])
}

/// Events of one payment: the commands to reserve and to post, what became of the order, the end; and two answers.
fn paid(count: i64) -> Changes {
    vec![
        ("credit", by(-count * PRICE)),
        ("earned", by(count * PRICE)),
        ("orders paid", by(count)),
        ("events of order", by(4 * count)),
        ("events of user", by(2 * count)),
    ]
}

pub(super) struct Pay {
    stage: Arc<Stage>,
    too_much: bool,
    request: PayOrderRequest,
}

impl Pay {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let request = pay(&stage.market.order(1).await?);
        Ok(Self { stage, too_much: false, request })
    }

    pub(super) async fn too_much(stage: Arc<Stage>) -> Result<Self> {
        let order = stage.market.order_request(1);
        let placed = stage.poor.caller.orders().place_order(order).await.context("PlaceOrder")?;
        let request = pay(&placed.into_inner().order.context("an order")?);
        Ok(Self { stage, too_much: true, request })
    }

    fn payer(&self) -> &Person {
        if self.too_much { &self.stage.poor } else { &self.stage.market.buyer }
    }
}

impl Operation for Pay {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let answer = self.payer().caller.transfers().pay_order(self.request.clone()).await?;
            Ok(format!("{:?}", answer.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(balances(&self.stage, self.payer()))
    }

    fn effect(&self) -> Changes {
        if self.too_much {
            // The command to reserve, and the end; the refusal.
            return vec![("events of order", by(2)), ("events of user", by(1))];
        }
        paid(1)
    }

    fn refusal(&self) -> Option<&'static str> {
        self.too_much.then_some("INSUFFICIENT_CREDIT")
    }
}

pub(super) struct PayMany {
    stage: Arc<Stage>,
    requests: Vec<PayOrderRequest>,
}

impl PayMany {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let mut requests = Vec::new();
        for _ in 0..MANY {
            requests.push(pay(&stage.market.order(1).await?));
        }
        Ok(Self { stage, requests })
    }
}

impl Operation for PayMany {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let mut calls = JoinSet::new();
            for (number, request) in self.requests.iter().cloned().enumerate() {
                let caller = self.stage.market.buyer.caller.clone();
                calls.spawn(async move { (number, caller.transfers().pay_order(request).await) });
            }
            let mut answers = calls.join_all().await;
            answers.sort_by_key(|(number, _)| *number);
            let mut heard = Vec::new();
            for (_, answer) in answers {
                heard.push(answer?.into_inner());
            }
            Ok(format!("{heard:?}"))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(balances(&self.stage, &self.stage.market.buyer))
    }

    fn effect(&self) -> Changes {
        paid(MANY)
    }
}

pub(super) struct Refund {
    stage: Arc<Stage>,
    request: RefundOrderRequest,
}

impl Refund {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let order = stage.market.paid_order(1).await?;
        Ok(Self { stage, request: refund(&order, PRICE / 2) })
    }
}

impl Operation for Refund {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let seller = &self.stage.market.seller.caller;
            Ok(format!("{:?}", seller.transfers().refund_order(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(balances(&self.stage, &self.stage.market.buyer))
    }

    fn effect(&self) -> Changes {
        vec![
            ("credit", by(PRICE / 2)),
            ("earned", by(-PRICE / 2)),
            ("events of order", by(4)),
            ("events of user", by(2)),
        ]
    }
}
