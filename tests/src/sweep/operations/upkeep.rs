//! What operators do.

use std::cell::Cell;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use testkit::ServiceName;
use tonic::Status;

use crate::people::pay;
use crate::sweep::operation::{Changes, Doing, Measures, Operation};
use crate::sweep::stage::Stage;

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

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn effect(&self) -> Changes {
        Changes::new()
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

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn effect(&self) -> Changes {
        Changes::new()
    }
}
