//! Processes that end or hang, and their certificates.

use anyhow::{Result, ensure};
use testkit::client::PASSWORD;
use testkit::{Issued, ServiceName, under_load};
use time::Duration;

use super::super::stage::{Stage, Wanted};

pub(super) async fn user_service_killed(stage: &Stage) -> Result<()> {
    const JOB: (&str, &str) = ("job", "user-service");
    const WANTED: &[Wanted] = &[
        ("TargetDown", &[JOB]),
        ("NoProcessServes", &[JOB]),
        ("StreamWithoutHolder", &[JOB, ("stream", "user")]),
        ("ConsumerWithoutHolder", &[JOB, ("consumer", "user.transfers")]),
        ("DependencyDown", &[("job", "order-service"), ("dependency", "user-service")]),
        ("ErrorBudgetBurnsFast", &[("job", "session-service")]),
        ("ErrorBudgetBurns", &[("job", "session-service")]),
    ];
    stage.are_over(WANTED).await?;
    let service = stage.watched.system.stack.services.get(ServiceName::User);
    service.process().kill().await?;
    let (api, email) = (&stage.watched.system.api, &stage.market.buyer.email);
    let mut provoked = Ok(());
    let failed = under_load(async || api.log_in(email, PASSWORD).await, async {
        provoked = stage.fire(WANTED).await;
    });
    let failed = failed.await;
    service.restart().await?;
    provoked?;
    ensure!(!failed.is_empty(), "people log in although nobody knows their passwords");
    // The budget is burnt for as long as its windows remember.
    stage.are_over(&WANTED[..5]).await
}

pub(super) async fn order_service_killed(stage: &Stage) -> Result<()> {
    const WANTED: &[Wanted] = &[("TransfersUnwatched", &[])];
    stage.are_over(WANTED).await?;
    let service = stage.watched.system.stack.services.get(ServiceName::Order);
    service.process().kill().await?;
    let provoked = stage.fire(WANTED).await;
    service.restart().await?;
    provoked?;
    stage.are_over(WANTED).await
}

/// What hangs looks as what is gone: Prometheus hears nothing.
pub(super) async fn session_service_hangs(stage: &Stage) -> Result<()> {
    let service = stage.watched.system.stack.services.get(ServiceName::Session);
    const WANTED: &[Wanted] = &[
        ("TargetDown", &[("job", "session-service")]),
        ("DependencyDown", &[("job", "user-service"), ("dependency", "session-service")]),
    ];
    stage.are_over(WANTED).await?;
    service.process().pause()?;
    let provoked = stage.fire(WANTED).await;
    service.process().resume()?;
    provoked?;
    stage.are_over(WANTED).await
}

pub(super) async fn certificate_ends(stage: &Stage) -> Result<()> {
    const WANTED: &[Wanted] = &[("CertificateEnds", &[("job", "session-service")])];
    stage.are_over(WANTED).await?;
    let certificates = &stage.watched.secured;
    certificates.files.replace(&certificates.issue(Duration::HOUR)?)?;
    stage.fire(WANTED).await?;
    certificates.files.replace(&certificates.issue(Duration::DAY)?)?;
    stage.are_over(WANTED).await
}

pub(super) async fn wrong_key(stage: &Stage) -> Result<()> {
    const WANTED: &[Wanted] = &[("TlsReloadFailed", &[("job", "session-service")])];
    stage.are_over(WANTED).await?;
    let certificates = &stage.watched.secured;
    let (one, another) = (certificates.issue(Duration::DAY)?, certificates.issue(Duration::DAY)?);
    certificates.files.replace(&Issued { certificate: one.certificate, key: another.key })?;
    stage.fire(WANTED).await
}
