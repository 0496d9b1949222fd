//! `tristore parked ...`.

use anyhow::{Context, Result};
use api::event::v1::{
    CloudEvent, ListParkedRequest, RetryParkedRequest, SkipParkedRequest, cloud_event_attribute_value::Attr,
};
use uuid::Uuid;

use crate::Consent;
use crate::client::{Client, Service};
use crate::output::Output;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists them, oldest first.
    List {
        /// The consumer, such as `order.customers`.
        consumer: String,
    },
    /// Applies the parked events of one aggregate in order.
    Retry {
        /// The consumer.
        consumer: String,
        /// The aggregate's type, such as `user`.
        aggregate_type: String,
        /// The aggregate's id.
        aggregate_id: String,
    },
    /// Drops one parked event for good.
    Skip {
        /// The consumer.
        consumer: String,
        /// The event.
        event_id: String,
        /// Why; kept in the audit log.
        #[arg(long)]
        justification: String,
    },
}

pub(crate) async fn run(client: &Client, output: &Output, consent: Consent, command: Command) -> Result<()> {
    let request_id = Uuid::now_v7().to_string();
    match command {
        Command::List { consumer } => list(client, output, consumer).await,
        Command::Retry { consumer, aggregate_type, aggregate_id } => {
            consent.required(&format!("apply the parked events of {aggregate_type} {aggregate_id}"))?;
            let service = Service::of_consumer(&consumer)?;
            let request = RetryParkedRequest { request_id, consumer, aggregate_type, aggregate_id };
            let answer = client.event_admin(service).retry_parked(request).await.context(service.name())?;
            let answer = answer.into_inner();
            if output.is_json() {
                return output.json(service.name(), &answer);
            }
            output.line(format_args!("{} applied, {} remain", answer.applied_count, answer.remaining_count));
            Ok(())
        }
        Command::Skip { consumer, event_id, justification } => {
            consent.required(&format!("drop event {event_id} for good"))?;
            let service = Service::of_consumer(&consumer)?;
            let request = SkipParkedRequest { request_id, consumer, event_id, justification };
            let answer = client.event_admin(service).skip_parked(request).await.context(service.name())?;
            if output.is_json() {
                return output.json(service.name(), &answer.into_inner());
            }
            output.line("dropped");
            Ok(())
        }
    }
}

async fn list(client: &Client, output: &Output, consumer: String) -> Result<()> {
    let service = Service::of_consumer(&consumer)?;
    let mut request = ListParkedRequest { consumer, page_size: 1000, page_token: String::new() };
    let mut rows = Vec::new();
    loop {
        let answer =
            client.event_admin(service).list_parked(request.clone()).await.context(service.name())?;
        let answer = answer.into_inner();
        if output.is_json() {
            output.json(service.name(), &answer)?;
        }
        for parked in answer.events {
            let event = parked.event.unwrap_or_default();
            let aggregate =
                format!("{} {}", attribute(&event, "aggregatetype"), attribute(&event, "subject"));
            let position = attribute(&event, "position");
            rows.push(vec![
                position,
                event.id,
                event.r#type,
                aggregate,
                parked.attempts.to_string(),
                parked.error,
            ]);
        }
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page_token = answer.next_page_token;
    }
    if !output.is_json() {
        output.table(&["position", "event", "type", "aggregate", "attempts", "error"], &rows);
    }
    Ok(())
}

fn attribute(event: &CloudEvent, name: &str) -> String {
    match event.attributes.get(name).and_then(|value| value.attr.as_ref()) {
        Some(Attr::CeString(text)) => text.clone(),
        _ => String::new(),
    }
}
