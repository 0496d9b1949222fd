//! Whether a consumer follows its stream.

use std::time::Duration;

use anyhow::{Context as _, Result};
use api::event::v1::{ConsumerState, GetConsumersRequest, ListParkedRequest, StreamHead};
use runtime::doctor::Seen;
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::client::{Client, Service};

/// How long a consumer has to reach where its stream stood; in traffic it is always a little behind.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PARKED_MAX: i32 = 1000;

pub(super) async fn consumers(client: &Client, service: Service) -> Result<Vec<ConsumerState>, Status> {
    Ok(client.event_admin(service).get_consumers(GetConsumersRequest {}).await?.into_inner().consumers)
}

pub(super) fn running(state: &ConsumerState) -> Seen {
    let ConsumerState { consumer, halted_reason, .. } = state;
    if halted_reason.is_empty() {
        Seen::ok(consumer)
    } else {
        Seen::failed(
            format!("{consumer}: {halted_reason}"),
            format!("mend what halted it, then: tristore resync {consumer} --yes-change-state"),
        )
    }
}

pub(super) fn epoch(state: &ConsumerState, head: &StreamHead) -> Seen {
    let ConsumerState { consumer, stream, epoch, .. } = state;
    if *epoch == head.epoch {
        return Seen::ok(format!("{consumer}: {epoch}"));
    }
    let own: &str = if epoch.is_empty() { "none yet" } else { epoch };
    Seen::failed(
        format!("{consumer}: {own}, and stream {stream} has {}", head.epoch),
        format!(
            "see why in the log of its service; if it is halted: tristore resync {consumer} --yes-change-state"
        ),
    )
}

/// Looks until the consumer has reached where its stream stood.
pub(super) async fn lag(
    client: &Client,
    service: Service,
    first: &ConsumerState,
    head: &StreamHead,
) -> Result<Seen> {
    let consumer = &first.consumer;
    if !first.halted_reason.is_empty() {
        return Ok(Seen::not_tried(format!("{consumer} is halted")));
    }
    let until = Instant::now() + CATCHES_UP_WITHIN;
    let mut position = first.position;
    while position < head.position && Instant::now() < until {
        sleep(LOOK_EVERY).await;
        let states = consumers(client, service).await?;
        let state = states.into_iter().find(|state| state.consumer == *consumer);
        position = state.with_context(|| format!("{consumer} is gone"))?.position;
    }
    let (behind, applied) = (head.position - position, position - first.position);
    Ok(match (behind, applied) {
        (..=0, _) => {
            Seen::ok(format!("{consumer}: {} behind at first", (head.position - first.position).max(0)))
        }
        (behind, 1..) => Seen::advice(
            format!("{consumer}: {behind} behind after {applied} were applied"),
            "look again later: tristore consumers",
        ),
        (behind, _) => Seen::failed(
            format!("{consumer}: {behind} behind, and none was applied"),
            format!("see why in the log of {}, and whether it reaches the stream's service", service.name()),
        ),
    })
}

pub(super) async fn parked(client: &Client, service: Service, consumer: &str) -> Result<Seen, Status> {
    let request =
        ListParkedRequest { consumer: consumer.to_owned(), page_size: PARKED_MAX, page_token: String::new() };
    let page = client.event_admin(service).list_parked(request).await?.into_inner();
    let more = if page.next_page_token.is_empty() { "" } else { " and more" };
    let found = format!("{consumer}: {}{more}", page.events.len());
    Ok(if page.events.is_empty() {
        Seen::ok(found)
    } else {
        Seen::failed(
            found,
            format!(
                "tristore parked list {consumer}\nmend what it says, then: tristore parked retry {consumer} <type> <id> \
                 --yes-change-state"
            ),
        )
    })
}
