//! Which events are stamped next: the oldest by id, and what must come before any of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bson::{Document, doc};
use events::{Lease, PENDING_COUNTED, Pending};
use futures_util::TryStreamExt as _;
use mongodb::options::Hint;
use serde::Deserialize;
use uuid::Uuid;

use super::low_mark::Scan;
use super::outbox::{AggregateRow, EventRow, OUTBOX};
use crate::error::Result;
use crate::storage::driver::bounded;
use crate::storage::{SERVER_TIME, Store, Tx};

/// The index of what is pending, by id.
const PENDING: &str = "pending";
/// The same by aggregate and version.
const PENDING_AGGREGATE: &str = "pending_aggregate";
/// More keys of earlier events than this are not read to look which are needed: then only what is needed is asked for.
const KEYS_MAX: usize = 5_000;
/// An `$or` of more branches takes the server long to plan.
const BRANCHES_MAX: usize = 100;

/// Pending events, and the scan that found them.
pub(super) struct Found {
    pub(super) rows: Vec<EventRow>,
    scan: Scan,
    took: Duration,
    count: usize,
    lowest: Option<Uuid>,
}

/// What an index holds of a pending event.
#[derive(Debug, Deserialize)]
struct KeyRow {
    aggregate: AggregateRow,
}

impl Store {
    /// The outcome of a scan is committed, or there was nothing: the next may begin where it says.
    pub(super) fn scanned(&self, found: &Found) {
        self.low_mark().scanned(found.scan, found.took, found.count, found.lowest);
    }

    /// Whether a scan finds nothing.
    pub(super) async fn nothing_pending(&self, lease: &Lease) -> Result<bool> {
        let scan = self.low_mark().scan(lease);
        let outbox = self.collection::<Document>(OUTBOX);
        let pending = outbox
            .find_one(pending_from(scan))
            .projection(doc! { "_id": 1 })
            .hint(Hint::Name(PENDING.to_owned()))
            .max_time(SERVER_TIME);
        let found = bounded(pending).await?;
        if found.is_some() {
            // What it is, the step finds out that comes now.
            self.low_mark().scan_again(scan);
            return Ok(false);
        }
        self.low_mark().scanned(scan, scan.took(), 0, None);
        Ok(true)
    }
}

/// What [`Store::backlog`] reads.
#[derive(Debug, Deserialize)]
struct BacklogRow {
    events: i64,
    age_ms: i64,
}

impl Store {
    /// How many events are pending, and how old the oldest of them is.
    pub(super) async fn backlog(&self) -> Result<Pending> {
        let outbox = self.collection::<Document>(OUTBOX);
        let pipeline = [
            doc! { "$match": { "pending": true } },
            doc! { "$sort": { "pending": 1, "_id": 1 } },
            doc! { "$limit": PENDING_COUNTED },
            doc! { "$group": { "_id": null, "events": { "$sum": 1_i64 }, "oldest": { "$min": "$created_at" } } },
            doc! { "$project": {
                "events": 1,
                "age_ms": { "$dateDiff": { "startDate": "$oldest", "endDate": "$$NOW", "unit": "millisecond" } },
            } },
        ];
        let aggregate = outbox
            .aggregate(pipeline)
            .with_type::<BacklogRow>()
            .hint(Hint::Name(PENDING.to_owned()))
            .max_time(SERVER_TIME);
        let rows: Vec<BacklogRow> = bounded(bounded(aggregate).await?.try_collect()).await?;
        let pending = |row: &BacklogRow| Pending {
            events: u64::try_from(row.events).unwrap_or_default(),
            // The clock of whoever made the event may be ahead.
            oldest: Duration::from_millis(u64::try_from(row.age_ms).unwrap_or_default()),
        };
        Ok(rows.first().map(pending).unwrap_or_default())
    }
}

impl Tx {
    /// The oldest unstamped events by id, and what must come before any of them. Ids are made by many clocks, so
    /// a lower version of an aggregate may have a higher id, or one below where the scan begins. It is then outside of what
    /// was found: unless that is all that is pending.
    pub(super) async fn pending(&mut self, lease: &Lease, limit: usize) -> Result<Found> {
        let scan = self.store.low_mark().scan(lease);
        let (outbox, session) = self.on::<EventRow>(OUTBOX);
        let find = outbox
            .find(pending_from(scan))
            .hint(Hint::Name(PENDING.to_owned()))
            .sort(doc! { "pending": 1, "_id": 1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .batch_size(u32::try_from(limit).unwrap_or(u32::MAX));
        let mut cursor = bounded(find.session(&mut *session)).await?;
        let mut rows: Vec<EventRow> = bounded(cursor.stream(session).try_collect()).await?;
        let took = scan.took();
        if scan.from.is_some() || rows.len() >= limit {
            let earlier = self.earlier(&rows).await?;
            rows.extend(earlier);
        }
        let lowest = rows.iter().map(|row| Uuid::from(row.id)).min();
        Ok(Found { count: rows.len(), rows, scan, took, lowest })
    }

    /// The pending events of the same aggregates that have lower versions and are not among these.
    async fn earlier(&mut self, rows: &[EventRow]) -> Result<Vec<EventRow>> {
        let mut highest: HashMap<(&str, &str), i64> = HashMap::new();
        for AggregateRow { kind, id, version } in rows.iter().map(|row| &row.aggregate) {
            let known = highest.entry((kind.as_str(), id.as_str())).or_insert(0);
            *known = (*known).max(*version);
        }
        highest.retain(|_, version| *version > 1);
        if highest.is_empty() {
            return Ok(Vec::new());
        }
        let known: HashSet<&AggregateRow> = rows.iter().map(|row| &row.aggregate).collect();
        let keys = self.keys_below(&highest).await?;
        let wanted: Vec<Document> = if keys.len() > KEYS_MAX {
            let below = |((kind, id), version): (&(&str, &str), &i64)| of(kind, id, doc! { "$lt": version });
            highest.iter().map(below).collect()
        } else {
            let missing = keys.iter().filter(|key| {
                let highest = highest.get(&(&*key.kind, &*key.id));
                highest.is_some_and(|highest| key.version < *highest) && !known.contains(key)
            });
            missing.map(|key| of(&key.kind, &key.id, key.version)).collect()
        };
        let mut earlier = Vec::new();
        for branches in wanted.chunks(BRANCHES_MAX) {
            let (outbox, session) = self.on::<EventRow>(OUTBOX);
            let find = outbox
                .find(doc! { "$or": branches })
                .hint(Hint::Name(PENDING_AGGREGATE.to_owned()))
                .batch_size(u32::try_from(KEYS_MAX).unwrap_or(u32::MAX));
            let mut cursor = bounded(find.session(&mut *session)).await?;
            let found: Vec<EventRow> = bounded(cursor.stream(session).try_collect()).await?;
            earlier.extend(found.into_iter().filter(|row| !known.contains(&row.aggregate)));
        }
        Ok(earlier)
    }

    /// The pending events of these aggregates: from the index alone, with one branch for each type of aggregate. Versions
    /// are bounded by the highest of the type only, so there may be more than what is asked for; and there may be too many
    /// to read them all, which is seen by one more than [`KEYS_MAX`].
    async fn keys_below(&mut self, highest: &HashMap<(&str, &str), i64>) -> Result<Vec<AggregateRow>> {
        let mut types: BTreeMap<&str, (Vec<&str>, i64)> = BTreeMap::new();
        for ((kind, id), version) in highest {
            let (ids, most) = types.entry(*kind).or_default();
            ids.push(*id);
            *most = (*most).max(*version);
        }
        let branches: Vec<Document> = types
            .into_iter()
            .map(|(kind, (ids, most))| of(kind, doc! { "$in": ids }, doc! { "$lt": most }))
            .collect();
        let most = KEYS_MAX + 1;
        let (outbox, session) = self.on::<KeyRow>(OUTBOX);
        let find = outbox
            .find(doc! { "$or": branches })
            .projection(doc! { "_id": 0, "aggregate.type": 1, "aggregate.id": 1, "aggregate.version": 1 })
            .hint(Hint::Name(PENDING_AGGREGATE.to_owned()))
            .limit(i64::try_from(most).unwrap_or(i64::MAX))
            .batch_size(u32::try_from(most).unwrap_or(u32::MAX));
        let mut cursor = bounded(find.session(&mut *session)).await?;
        let rows: Vec<KeyRow> = bounded(cursor.stream(session).try_collect()).await?;
        Ok(rows.into_iter().map(|row| row.aggregate).collect())
    }
}

/// What is pending where a scan looks.
fn pending_from(scan: Scan) -> Document {
    let mut filter = doc! { "pending": true };
    if let Some(from) = scan.from {
        filter.insert("_id", doc! { "$gte": bson::Uuid::from(from) });
    }
    filter
}

/// Pending events of aggregates.
fn of(kind: &str, id: impl Into<bson::Bson>, version: impl Into<bson::Bson>) -> Document {
    doc! {
        "pending": true,
        "aggregate.type": kind,
        "aggregate.id": id,
        "aggregate.version": version,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use events::{Aggregate, Event, Headers, NewEvent, OutboxStore as _, Stamp};
    use testkit::{TestMongo, wait_until};
    use time::OffsetDateTime;
    use types::{EventId, UserId};

    use super::*;
    use crate::config::MongoConfig;
    use crate::storage::backbone::low_mark::LowMark;
    use crate::storage::{STREAM, Shared};

    const LEASE: Duration = Duration::from_secs(30);
    const WITHIN: Duration = Duration::from_secs(10);
    const HOUR: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_millis(500);
    /// A time in milliseconds, as ids have it.
    const NOON: u128 = 1_800_000_000_000;

    /// A sequencer to which every scan is a slow one, so that it has a mark.
    struct Marked {
        store: Store,
        lease: Lease,
        _mongo: TestMongo,
    }

    /// An event of an aggregate, whose id was made so many milliseconds after noon, or before it.
    fn event(aggregate: &str, version: i64, millis: i128) -> NewEvent {
        let made = NOON.saturating_add_signed(millis);
        let other = Uuid::new_v4().as_u128() & ((1 << 64) - 1);
        NewEvent {
            id: EventId::from_uuid(Uuid::from_u128((made << 80) | other)),
            aggregate: Aggregate::new("user", aggregate),
            aggregate_version: version,
            event_type: "test.v1.Happened".to_owned(),
            schema_version: 1,
            payload: Bytes::new(),
            headers: Headers::default(),
            created_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn told(events: &[Event]) -> Vec<(&str, i64)> {
        events.iter().map(|event| (&*event.new.aggregate.id, event.new.aggregate_version)).collect()
    }

    impl Marked {
        async fn start() -> Self {
            let mongo = TestMongo::create().await.unwrap();
            let shared = Shared::default();
            *shared.low_mark.lock().unwrap() = LowMark::without_cheap_scans();
            let store = Store::connect(&MongoConfig::for_tests(mongo.migrate_url()), shared).await.unwrap();
            store.migrate().await.unwrap();
            let lease = store.lease(STREAM, Uuid::new_v4(), LEASE).await.unwrap().unwrap();
            Self { store, lease, _mongo: mongo }
        }

        async fn append(&self, events: &[NewEvent]) {
            let mut tx = self.store.begin("test").await.unwrap();
            // The stand-in for MongoDB takes no bulk write as the first statement of a transaction.
            tx.statistics_fetch(UserId::from_uuid(Uuid::nil())).await.unwrap();
            for event in events {
                tx.event_append(event).unwrap();
            }
            tx.commit_now().await.unwrap();
        }

        async fn stamp(&self, limit: usize) -> Vec<Event> {
            match self.store.stamp(&self.lease, limit, LEASE).await.unwrap() {
                Stamp::Stamped(events) => events,
                Stamp::LeaseLost => panic!("the lease is lost"),
            }
        }
    }

    /// Claim: what is committed below the mark is missed by no more than the scans until the next of everything, by the
    /// step as by the question whether there is something to do.
    #[tokio::test]
    async fn what_is_committed_below_the_mark_is_stamped_by_the_next_scan_of_everything() {
        let sequencer = Marked::start().await;
        sequencer.append(&[event("a", 1, 0)]).await;
        assert_eq!(told(&sequencer.stamp(10).await), [("a", 1)]);
        sequencer.store.low_mark().full_in(HOUR);
        sequencer.append(&[event("slow", 1, -10_000)]).await;
        assert!(sequencer.stamp(10).await.is_empty(), "it is below the mark");
        sequencer.store.low_mark().full_in(SOON);
        let seen = async || match sequencer.stamp(10).await {
            events if events.is_empty() => Err("nothing is stamped"),
            events => Ok(events),
        };
        assert_eq!(told(&wait_until(WITHIN, "the straggler", seen).await.unwrap()), [("slow", 1)]);

        sequencer.store.low_mark().full_in(HOUR);
        sequencer.append(&[event("slow", 2, -100_000)]).await;
        assert!(sequencer.store.is_idle(&sequencer.lease, LEASE).await.unwrap());
        sequencer.store.low_mark().full_in(SOON);
        let is_busy = async || match sequencer.store.is_idle(&sequencer.lease, LEASE).await.unwrap() {
            true => Err("idle"),
            false => Ok(()),
        };
        wait_until(WITHIN, "something to do", is_busy).await.unwrap();
    }

    /// Claim: versions ascend, also where an earlier one is below the mark.
    #[tokio::test]
    async fn an_earlier_version_below_the_mark_is_stamped_before_the_later_one() {
        let sequencer = Marked::start().await;
        sequencer.append(&[event("a", 1, 0)]).await;
        sequencer.stamp(10).await;
        sequencer.store.low_mark().full_in(HOUR);
        sequencer.append(&[event("b", 1, -10_000), event("b", 2, 5), event("c", 1, 6)]).await;
        let stamped = sequencer.stamp(10).await;
        assert_eq!(told(&stamped), [("b", 1), ("b", 2), ("c", 1)]);
    }

    /// Claim: so do they where there is more than a step takes, and more of the same type than would be read for it.
    #[tokio::test]
    async fn an_earlier_version_is_found_among_however_many_others() {
        let sequencer = Marked::start().await;
        let many = i64::try_from(KEYS_MAX).unwrap() + 2;
        let rows = (1..=many).map(|version| EventRow::from(&event("many", version, i128::from(version))));
        let rows: Vec<EventRow> = rows.collect();
        let outbox = sequencer.store.collection::<EventRow>(OUTBOX);
        outbox.insert_many(&rows).await.unwrap();
        // The lower version has the higher id, and the index has it behind all others.
        sequencer.append(&[event("z", 2, -5), event("z", 1, 1_000_000)]).await;
        sequencer.append(&[event("high", many + 1, -4)]).await;
        let stamped = sequencer.stamp(4).await;
        assert_eq!(told(&stamped), [("z", 1), ("high", many + 1), ("many", 1), ("many", 2)]);
        let next = sequencer.stamp(2).await;
        assert_eq!(told(&next), [("z", 2), ("many", 3)]);
    }
}
