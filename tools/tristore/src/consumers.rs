//! `tristore consumers` and `tristore resync`: which consumers are halted and why, and how to make them go on.

use std::time::Duration;

use anyhow::{Context, Result};
use api::event::v1::{GetConsumersRequest, ResyncRequest, ResyncResponse};
use tonic::Status;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::Consent;
use crate::client::{Client, Service};
use crate::output::Output;

/// How often to ask whether a resync has ended.
const ASK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Resync {
    /// The consumer, such as `order.customers`.
    consumer: String,
    /// The request id of an earlier resync: waits for its end, or reports its result.
    #[arg(long)]
    request_id: Option<Uuid>,
}

pub(crate) async fn run(client: &Client, output: &Output) -> Result<()> {
    let mut rows = Vec::new();
    for service in Service::ALL {
        let answer = client.event_admin(service).get_consumers(GetConsumersRequest {}).await;
        let answer = answer.context(service.name())?.into_inner();
        if output.is_json() {
            output.json(service.name(), &answer)?;
        }
        rows.extend(answer.consumers.into_iter().map(|state| {
            let halted = if state.halted_reason.is_empty() { "no".to_owned() } else { state.halted_reason };
            vec![
                service.name().to_owned(),
                state.consumer,
                state.stream,
                state.position.to_string(),
                state.epoch,
                halted,
            ]
        }));
    }
    if !output.is_json() {
        output.table(&["source", "consumer", "stream", "position", "epoch", "halted"], &rows);
    }
    Ok(())
}

pub(crate) async fn resync(client: &Client, output: &Output, consent: Consent, what: Resync) -> Result<()> {
    let Resync { consumer, request_id } = what;
    consent.required(&format!("rebuild {consumer} from its producer's snapshot"))?;
    let service = Service::of_consumer(&consumer)?;
    let request_id = request_id.unwrap_or_else(Uuid::now_v7).to_string();
    // The answer may never arrive. With this id the operator can ask again.
    eprintln!("tristore: resync {request_id} of {consumer}");
    let request = ResyncRequest { request_id, consumer };
    let answer = until_ended(client, service, &request).await.context(service.name())?;
    if output.is_json() {
        return output.json(service.name(), &answer);
    }
    output.line(format_args!("{} aggregates, goes on after {}", answer.aggregate_count, answer.position));
    Ok(())
}

async fn until_ended(
    client: &Client,
    service: Service,
    request: &ResyncRequest,
) -> Result<ResyncResponse, Status> {
    loop {
        match client.event_admin(service).resync(request.clone()).await {
            Err(status) if goes_on(&status, &request.request_id) => tokio::time::sleep(ASK_EVERY).await,
            answer => return answer.map(tonic::Response::into_inner),
        }
    }
}

/// Whether this resync is still running, and not another one.
fn goes_on(status: &Status, request_id: &str) -> bool {
    let details = status.get_error_details();
    details.error_info().is_some_and(|info| {
        info.reason == "REQUEST_IN_PROGRESS"
            && info.metadata.get("request_id").is_some_and(|id| id == request_id)
    })
}
