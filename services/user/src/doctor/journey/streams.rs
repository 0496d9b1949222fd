//! The stream of the service, and the consumer's side.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use events::{
    Act, Aggregate, ConsumerId, ConsumerStore as _, ConsumerTx as _, Event, EventLog as _, Headers, Mark,
    NewEvent, OutboxStore as _, Resynced, Skip, Stamp,
};
use types::{Clock as _, SystemClock, UserId};
use uuid::Uuid;

use crate::storage::{STREAM, Store};

const OWNER: Uuid = Uuid::from_u128(7);
const LEASE: Duration = Duration::from_secs(30);
const CONSUMER: ConsumerId = ConsumerId { name: "doctor", stream: "doctor" };
/// Who holds back the pruning of the stream.
const CONSUMERS: [&str; 4] = ["order.customers", "order.transfers", "session.revocations", "user.counters"];

pub(super) async fn all(store: &Store) -> anyhow::Result<()> {
    let event = produced(store).await?;
    consumed(store, &event).await?;
    parked(store, &event).await?;
    for _ in 0..2 {
        store.worker_lease("doctor", OWNER, LEASE).await?;
    }
    store.epoch_replace().await?;
    Ok(())
}

/// Stamps, reads and prunes; gives one of the events.
async fn produced(store: &Store) -> anyhow::Result<Event> {
    append_out_of_order(store).await?;
    let store = &store.with_slow_scans();
    let lease = store.lease(STREAM, OWNER, LEASE).await?.context("a lease")?;
    store.is_idle(&lease, LEASE).await?;
    store.pending(STREAM).await?;
    // One at a time, so that there is more than fits, of aggregates with several events.
    while let Stamp::Stamped(events) = store.stamp(&lease, 1, LEASE).await? {
        if events.is_empty() {
            break;
        }
    }
    store.is_idle(&lease, LEASE).await?;
    let head = store.head(STREAM).await?.context("a stream")?;
    store.published(&lease, head.position).await?;
    let event = store.read_after(STREAM, 0, 5).await?.into_iter().next().context("an event")?;
    store.event_id_at(STREAM, event.position).await?;
    store.resolve(event.new.id).await?;
    for consumer in CONSUMERS {
        store.acknowledge(STREAM, consumer, lease.epoch, head.position).await?;
    }
    store.silent_consumers(STREAM, LEASE).await?;
    store.prune(&lease, Duration::ZERO, 5).await?;
    Ok(event)
}

/// Two events of one aggregate, as clocks make them that differ: the later one has the lower id.
async fn append_out_of_order(store: &Store) -> anyhow::Result<()> {
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    append(store, [event(first, "out-of-order", 2), event(second, "out-of-order", 1)]).await
}

/// Appends events in one transaction.
pub(in crate::doctor) async fn append(
    store: &Store,
    events: impl IntoIterator<Item = NewEvent>,
) -> anyhow::Result<()> {
    let mut tx = store.begin("doctor").await?;
    // The stand-in for MongoDB takes no bulk write as the first statement of a transaction.
    tx.statistics_fetch(UserId::from_uuid(Uuid::nil())).await?;
    for event in events {
        tx.event_append(&event)?;
    }
    tx.commit_now().await?;
    Ok(())
}

/// An event of an aggregate that is nothing of the service's.
pub(in crate::doctor) fn event(id: Uuid, aggregate: &str, aggregate_version: i64) -> NewEvent {
    NewEvent {
        id: id.into(),
        aggregate: Aggregate::new("doctor", aggregate),
        aggregate_version,
        event_type: "doctor.v1.Looked".to_owned(),
        schema_version: 1,
        payload: Bytes::from_static(&[0; 64]),
        headers: Headers::default(),
        created_at: SystemClock.now(),
    }
}

async fn consumed(store: &Store, event: &Event) -> anyhow::Result<()> {
    store.mark_lease(CONSUMER, OWNER, LEASE).await?.context("a mark")?;
    store.mark_fetch(CONSUMER).await?;
    store.standing(CONSUMER).await?;
    let first = Mark::at(event.epoch, 0, None);
    store.mark_adopt(CONSUMER, &Mark::START, &first).await?;
    let next = Mark::after(event);
    let mut tx = store.begin("doctor").await?;
    tx.mark_lock(CONSUMER).await?;
    tx.mark_lock_running(CONSUMER).await?;
    anyhow::ensure!(tx.mark_advance(CONSUMER, &first, &next).await?, "the mark is another");
    tx.act(CONSUMER).await?;
    tx.act_keep(CONSUMER, &Act { request_id: OWNER, outcome: "done".to_owned() }).await?;
    tx.commit_now().await?;
    store.resync_hold(CONSUMER, "resync", LEASE).await?.context("a hold")?;
    let mut tx = store.begin("doctor").await?;
    tx.resync_holds(CONSUMER, "resync", LEASE).await?;
    tx.commit_now().await?;
    let done = Resynced { request_id: OWNER, aggregates: 1, position: next.position };
    anyhow::ensure!(store.resync_end(CONSUMER, &next, &next, Some("resync"), &done).await?, "it is not held");
    store.halt(CONSUMER, OWNER, &next, "doctor").await?;
    Ok(())
}

/// An event that is parked and taken out, and one that stays.
async fn parked(store: &Store, event: &Event) -> anyhow::Result<()> {
    let mut other = event.clone();
    other.new.id = Uuid::now_v7().into();
    let aggregate = &event.new.aggregate;
    let mut tx = store.begin("doctor").await?;
    tx.park(CONSUMER, event, 1, "doctor").await?;
    tx.park(CONSUMER, &other, 1, "doctor").await?;
    tx.parked_any(CONSUMER).await?;
    tx.parked_among(CONSUMER, std::slice::from_ref(aggregate)).await?;
    tx.parked_aggregate_count(CONSUMER).await?;
    tx.parked_first(CONSUMER, aggregate).await?;
    tx.parked_remove(CONSUMER, other.new.id).await?;
    let skip = Skip {
        event_id: other.new.id,
        request_id: OWNER,
        caller: "doctor".to_owned(),
        justification: "doctor".to_owned(),
    };
    tx.skip_record(CONSUMER, event.position, &skip).await?;
    tx.commit_now().await?;
    store.parked_list(CONSUMER.name, 0, 5).await?;
    Ok(())
}
