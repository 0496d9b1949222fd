//! Runs one case: arms the point, performs the operation until the service dies, starts the service again, and checks
//! what the crash has left.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testkit::{FaultAct, LogMark, Service, ServiceName, wait_until};

use super::cases::Case;
use super::operation::{Changes, Measures, Operation, answer, check_answer, check_effect};
use super::operations::Kind;
use super::stage::Stage;
use super::way::{OF_WHOM, STREAMS};

/// Some points are passed by a worker that looks every few seconds.
const BITES_WITHIN: Duration = Duration::from_secs(60);

/// Runs one case; tells how long the system took to be at rest after the service died.
///
/// # Errors
/// When the point was not reached, or the crash has left more or less than one effect.
pub async fn run(stage: &Arc<Stage>, case: &Case) -> Result<Duration> {
    stage.system.at_rest().await.context("before the case")?;
    let operation = (case.operation.prepare)(Arc::clone(stage)).await.context("preparing")?;
    check_way(case.operation, &operation.effect())?;
    let outcome = Box::pin(attempt(stage, case, &*operation)).await;
    operation.finish().await.context("after the case")?;
    let (before, marks, died) = outcome?;
    check_aftermath(stage, &*operation, &before, &marks).await?;
    Ok(died.elapsed())
}

/// Fails unless the streams in an operation's way are those to which one effect appends.
fn check_way(kind: &Kind, effect: &Changes) -> Result<()> {
    for (_, stream) in STREAMS {
        let appends = effect.iter().any(|(measure, _)| measure.strip_prefix("events of ") == Some(stream));
        let said = kind.way.streams.contains(&stream);
        ensure!(appends == said, "{} appends to {stream}: {appends}; its kind says {said}", kind.name);
    }
    Ok(())
}

type Marks = Vec<(ServiceName, LogMark)>;

async fn attempt(
    stage: &Stage,
    case: &Case,
    operation: &dyn Operation,
) -> Result<(Measures, Marks, Instant)> {
    stage.system.at_rest().await.context("before the fault")?;
    if case.part == OF_WHOM {
        stage.session_relay().await?;
    }
    let before = measure(stage, operation).await?;
    let services = &stage.system.stack.services;
    let marks: Marks = ServiceName::ALL.map(|name| (name, services.get(name).log().mark())).into();
    let victim = services.get(case.victim);
    let of_whom = (case.part == OF_WHOM).then(|| operation.part()).flatten();
    let part = of_whom.unwrap_or_else(|| case.part.to_owned());
    victim.arm(case.point, &part, FaultAct::Kill)?;
    let revived = async {
        let revived = revive(victim).await;
        if revived.is_err() {
            // Nothing may fire in a later case; if it has fired meanwhile, there is nothing left to take back.
            let _ = victim.disarm();
        }
        revived
    };
    let (heard, died) = tokio::try_join!(answer(operation), revived)?;
    check_answer(operation, &heard)?;
    let again = answer(operation).await.context("the repeat")?;
    ensure!(again == heard, "the repeat heard {again:?} after {heard:?}");
    Ok((before, marks, died))
}

/// Waits until the service has reached the point and is dead, and starts it again.
async fn revive(victim: &Service) -> Result<Instant> {
    wait_until(BITES_WITHIN, "the point to be reached", async || {
        if victim.has_fired() { Ok(()) } else { Err("the fault has not bitten") }
    })
    .await?;
    let status = wait_until(BITES_WITHIN, "the service to die", async || {
        victim.process().exit_status().ok_or("it lives")
    })
    .await?;
    let died = Instant::now();
    ensure!(status.signal() == Some(nix::libc::SIGKILL), "it ended with {status}");
    victim.restart().await?;
    Ok(died)
}

async fn measure(stage: &Stage, operation: &dyn Operation) -> Result<Measures> {
    let mut measures = operation.measure().await?;
    measures.extend(stage.heads().await?);
    Ok(measures)
}

/// Fails unless everything is as if the service had not died.
async fn check_aftermath(
    stage: &Stage,
    operation: &dyn Operation,
    before: &Measures,
    marks: &Marks,
) -> Result<()> {
    stage.system.at_rest().await?;
    let after = measure(stage, operation).await?;
    check_effect(before, &after, &operation.effect())?;
    stage.system.books_balance().await?;
    stage.conserved().await?;
    for (name, mark) in marks {
        let lines = stage.system.stack.services.get(*name).log().errors_since(*mark);
        ensure!(lines.is_empty(), "{name} logged errors:\n{}", lines.join("\n"));
    }
    Ok(())
}
