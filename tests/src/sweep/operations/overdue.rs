//! Payments that nobody decides in time. A stream is held until the decision is made, so that the wallet's answer
//! does not reach the coordinator; order service runs with a short deadline meanwhile.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use api::order::v1::PayOrderRequest;
use api::order::v1::transfer::Decision;
use testkit::ServiceName::{Order, User};
use tonic::Status;

use super::held_stream::{HeldStream, Stream};
use super::payments::balances;
use super::{Kind, prepared};
use crate::people::{pay, transfer};
use crate::status::metadata;
use crate::sweep::operation::{Changes, Doing, Measures, Operation, by};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, Way, point};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "Overdue",
        commits: &[Commit::Transaction(Order, "recover_transfer")],
        way: Way::CANCELLED,
        moments: &[point(Order, "recovery.claimed", "order")],
        prepare: |stage| prepared(Late::recovered(stage)),
    },
    Kind {
        name: "HoldOverdue",
        commits: &[Commit::Transaction(User, "hold_expire"), Commit::Transaction(Order, "get_decision")],
        way: Way::CANCELLED,
        moments: &[point(User, "expiry.answered", "hold")],
        prepare: |stage| prepared(Late::asked(stage)),
    },
];

const DEADLINE: (&str, &str) = ("TRANSFER_DEADLINE", "2s");
/// So that nobody but the participant asks for the decision.
const NO_RECOVERY: (&str, &str) = ("TRANSFER_RECOVERY_POLL", "1h");

/// A payment past its deadline.
pub(super) struct Late {
    stage: Arc<Stage>,
    payment: PayOrderRequest,
    transfer_id: RefCell<Option<String>>,
    stream: HeldStream,
}

impl Late {
    /// The recovery worker decides: the participant has not heard of the transfer, so it cannot ask.
    pub(super) async fn recovered(stage: Arc<Stage>) -> Result<Self> {
        Self::new(stage, Stream::Order, &[DEADLINE]).await
    }

    /// The participant asks, and the question decides.
    pub(super) async fn asked(stage: Arc<Stage>) -> Result<Self> {
        Self::new(stage, Stream::User, &[DEADLINE, NO_RECOVERY]).await
    }

    async fn new(stage: Arc<Stage>, held: Stream, env: &[(&str, &str)]) -> Result<Self> {
        let payment = pay(&stage.market.order(1).await?);
        restart_order_service(&stage, env).await?;
        Ok(Self { stage, payment, transfer_id: RefCell::new(None), stream: HeldStream::new(held) })
    }

    async fn ask(&self) -> Result<String, Status> {
        let unknown = |error: anyhow::Error| Status::unknown(format!("{error:#}"));
        let known = self.transfer_id.borrow().clone();
        if let Some(id) = known {
            let seen = transfer(&self.stage.system.admin, &id).await.map_err(unknown)?;
            if seen.decision() == Decision::Cancel {
                self.stream.release(&self.stage).await.map_err(unknown)?;
            }
        } else {
            self.stream.hold(&self.stage).await.map_err(unknown)?;
        }
        let impatient = self.stage.market.buyer.caller.within(Duration::from_millis(500));
        let answer = impatient.transfers().pay_order(self.payment.clone()).await;
        if let Some(id) = answer.as_ref().err().and_then(|status| metadata(status, "transfer_id")) {
            self.transfer_id.replace(Some(id));
        }
        answer.map(|paid| format!("{paid:?}"))
    }
}

/// Starts order service again, with these settings in the place of its own.
async fn restart_order_service(stage: &Stage, env: &[(&str, &str)]) -> Result<()> {
    let service = &stage.system.stack.services.order;
    service.process().kill().await?;
    service.process().relaunch_with(|launch| {
        launch.env.retain(|(name, _)| ![DEADLINE.0, NO_RECOVERY.0].contains(&name.as_str()));
        launch.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    });
    service.restart().await.context("starting order service in another way")
}

impl Operation for Late {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(self.ask())
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(balances(&self.stage, &self.stage.market.buyer))
    }

    /// The commands to reserve and to cancel, and the end. Reserved and released; the participant's own release and
    /// the command's may be answered each.
    fn effect(&self) -> Changes {
        vec![("events of order", by(3)), ("events of user", 2..=3)]
    }

    fn refusal(&self) -> Option<&'static str> {
        Some("TRANSFER_EXPIRED")
    }

    fn finish(&self) -> Doing<'_, Result<()>> {
        Box::pin(async {
            self.stream.release(&self.stage).await?;
            restart_order_service(&self.stage, &[]).await
        })
    }
}
