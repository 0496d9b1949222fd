//! Streams and their consumers, as an operator sees them.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use api::event::v1::{
    ConsumerState, GetConsumersRequest, HeadRequest, ResyncRequest, ResyncResponse, StreamHead,
};
use testkit::client::{Caller, request_id};
use testkit::{ServiceName, wait_until};
use tonic::{Code, Status};

use crate::status::code_and_reason;

const SOON: Duration = Duration::from_secs(60);

/// The service that a consumer or a stream belongs to.
fn owner(name: &str) -> ServiceName {
    match name.split(['.', '-']).next() {
        Some("order") => ServiceName::Order,
        Some("session") => ServiceName::Session,
        _ => ServiceName::User,
    }
}

/// Where a stream stands.
///
/// # Errors
/// When its service does not say.
pub async fn head(admin: &Caller, stream: &str) -> Result<StreamHead> {
    let request = HeadRequest { stream: stream.to_owned() };
    let answer = admin.events(owner(stream)).head(request).await.context("Head")?;
    answer.into_inner().head.context("a head")
}

/// How a consumer stands.
///
/// # Errors
/// When its service does not say.
pub async fn standing(admin: &Caller, consumer: &str) -> Result<ConsumerState> {
    let answer = admin.event_admin(owner(consumer)).get_consumers(GetConsumersRequest {}).await;
    let found = answer.context("GetConsumers")?.into_inner().consumers;
    let found = found.into_iter().find(|state| state.consumer == consumer);
    found.with_context(|| format!("{consumer} is not listed"))
}

/// Waits until a consumer goes on and has everything that its stream has now.
///
/// # Errors
/// When it does not get there.
pub async fn caught_up(admin: &Caller, consumer: &str) -> Result<ConsumerState> {
    wait_until(SOON, &format!("{consumer} to have everything"), async || {
        let state = standing(admin, consumer).await.map_err(|error| text(&error))?;
        let head = head(admin, &state.stream).await.map_err(|error| text(&error))?;
        let there =
            state.halted_reason.is_empty() && (&state.epoch, state.position) == (&head.epoch, head.position);
        if there { Ok(state) } else { Err(format!("{state:?} of {head:?}")) }
    })
    .await
}

/// Waits until a consumer has stopped for good.
///
/// # Errors
/// When it goes on, or stops for another reason.
pub async fn halted(admin: &Caller, consumer: &str, reason: &str) -> Result<ConsumerState> {
    let halted = wait_until(SOON, &format!("{consumer} to halt"), async || {
        let state = standing(admin, consumer).await.map_err(|error| text(&error))?;
        if state.halted_reason.is_empty() { Err(format!("{state:?}")) } else { Ok(state) }
    })
    .await?;
    if halted.halted_reason != reason {
        bail!("{consumer} halted for {}", halted.halted_reason);
    }
    Ok(halted)
}

/// A request to resync a consumer.
#[must_use]
pub fn resync_of(consumer: &str) -> ResyncRequest {
    ResyncRequest { request_id: request_id(), consumer: consumer.to_owned() }
}

/// Resyncs a consumer; asks again as long as the work goes on.
///
/// # Errors
/// What the service says.
pub async fn resync(admin: &Caller, request: &ResyncRequest) -> Result<ResyncResponse, Status> {
    let client = admin.event_admin(owner(&request.consumer));
    let outcome =
        wait_until(SOON, "the resync to end", async || match client.clone().resync(request.clone()).await {
            Err(status) if code_and_reason(&status).1 == "REQUEST_IN_PROGRESS" => Err(status.to_string()),
            answer => Ok(answer),
        });
    let outcome = outcome.await.map_err(|error| Status::new(Code::DeadlineExceeded, format!("{error:#}")))?;
    outcome.map(tonic::Response::into_inner)
}

fn text(error: &anyhow::Error) -> String {
    format!("{error:#}")
}
