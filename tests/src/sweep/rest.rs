//! What a case reads of its stage before and after, when nothing is running.

use std::time::Duration;

use anyhow::{Result, ensure};
use api::order::v1::RunAuditRequest;
use api::order::v1::audit::Verdict;
use testkit::wait_until;
use tonic::Status;

use super::operation::Measures;
use super::stage::Stage;
use crate::streams::head;

const WITHIN: Duration = Duration::from_secs(60);

impl Stage {
    /// Waits until session service publishes new events. After a crash its relay must first wait until the lease of the
    /// dead one has run out. Then it begins at the head; listeners get what came before with their next heartbeat.
    pub(super) async fn session_relay(&self) -> Result<()> {
        let log = self.system.stack.services.session.log();
        wait_until(WITHIN, "the relay of the session streams", async || {
            let lines = log.lines();
            let last = |text: &str| lines.iter().rposition(|line| line.contains(text));
            let (started, publishes) =
                (last("\"message\":\"starting\""), last("took the lease; publishing the streams"));
            if publishes > started { Ok(()) } else { Err("another has its lease") }
        })
        .await
    }

    /// Runs an audit of both books, as an operator does.
    pub(super) async fn audit(&self) -> Result<Verdict, Status> {
        let mut audits = self.system.admin.caller.audits();
        let mut pages = audits.run_audit(RunAuditRequest { full: false }).await?.into_inner();
        while let Some(page) = pages.message().await? {
            if let Some(audit) = page.audit {
                return Ok(audit.verdict());
            }
        }
        Err(Status::unknown("the audit came to no end"))
    }

    /// Fails when the services' own auditor does not find everything conserved.
    pub(super) async fn conserved(&self) -> Result<()> {
        let verdict = wait_until(WITHIN, "an audit", async || self.audit().await).await?;
        ensure!(verdict == Verdict::Conserved, "the audit says {verdict:?}");
        Ok(())
    }

    /// How many events each stream has, by the name of the measure.
    pub(super) async fn heads(&self) -> Result<Measures> {
        let admin = &self.system.admin.caller;
        let (user, order) = tokio::try_join!(head(admin, "user"), head(admin, "order"))?;
        Ok(vec![("events of user", user.position), ("events of order", order.position)])
    }
}
