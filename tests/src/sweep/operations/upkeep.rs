//! What operators do.

use std::cell::Cell;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use testkit::ServiceName;
use testkit::ServiceName::{Order, Session, User};
use tonic::Status;

use super::{Kind, prepared};
use crate::people::pay;
use crate::sweep::operation::{Doing, Operation};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, Way, point};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "Audit",
        commits: &[Commit::Transaction(User, "audit_advance"), Commit::Transaction(Order, "audit_advance")],
        way: Way::NONE,
        moments: &[],
        prepare: |stage| prepared(Audit::new(stage)),
    },
    // While leaving, the leases still held.
    Kind {
        name: "StopUser",
        commits: &[],
        way: Way::NONE,
        moments: &[
            point(User, "sequencer.leaving", "user"),
            point(User, "consumer.leaving", "user.transfers"),
            point(User, "consumer.leaving", "user.statistics"),
            point(User, "consumer.leaving", "user.counters"),
        ],
        prepare: |stage| prepared(async move { Ok(Stop::new(stage, User)) }),
    },
    Kind {
        name: "StopOrder",
        commits: &[],
        way: Way::NONE,
        moments: &[
            point(Order, "sequencer.leaving", "order"),
            point(Order, "consumer.leaving", "order.customers"),
            point(Order, "consumer.leaving", "order.transfers"),
        ],
        prepare: |stage| prepared(async move { Ok(Stop::new(stage, Order)) }),
    },
    Kind {
        name: "StopSession",
        commits: &[],
        way: Way::NONE,
        moments: &[point(Session, "consumer.leaving", "session.revocations")],
        prepare: |stage| prepared(async move { Ok(Stop::new(stage, Session)) }),
    },
];

/// An audit of both books, which have something new.
pub(super) struct Audit {
    stage: Arc<Stage>,
}

impl Audit {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let payment = pay(&stage.market.order(1).await?);
        stage.market.buyer.caller.transfers().pay_order(payment).await.context("PayOrder")?;
        Ok(Self { stage })
    }
}

impl Operation for Audit {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async { Ok(format!("{:?}", self.stage.audit().await?)) })
    }
}

/// SIGTERM, once. Killed while it leaves, the service has not given its leases back.
pub(super) struct Stop {
    stage: Arc<Stage>,
    service: ServiceName,
    told: Cell<bool>,
}

impl Stop {
    pub(super) fn new(stage: Arc<Stage>, service: ServiceName) -> Self {
        Self { stage, service, told: Cell::new(false) }
    }
}

impl Operation for Stop {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            if !self.told.replace(true) {
                let process = self.stage.system.stack.services.get(self.service).process();
                process.signal(Signal::SIGTERM).map_err(|error| Status::unknown(error.to_string()))?;
            }
            Ok("told to stop".to_owned())
        })
    }
}
