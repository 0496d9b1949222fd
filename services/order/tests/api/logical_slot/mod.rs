//! What leaves PostgreSQL through a logical slot on the publication `outbox`: what Debezium's outbox router would
//! be given, read here as its connector reads it.

mod pgoutput;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use events::{Aggregate, Headers, NewEvent, OutboxStore as _, Stamp};
use futures_util::future::join_all;
use order_service::config::PostgresConfig;
use order_service::storage::{Signals, Store, Tx, Use};
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tokio::sync::watch;
use types::EventId;
use uuid::Uuid;

use crate::harness::database;

use self::pgoutput::{Message, Relation, decode};

const WRITERS: usize = 4;
const TURNS: usize = 12;
const LEASE: Duration = Duration::from_secs(120);
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A slot on a publication. It belongs to its session and goes with it: one that stays would hold back WAL.
struct Slot {
    sql: PgConnection,
    name: &'static str,
    read: Vec<Message>,
}

impl Slot {
    async fn open(url: &str, publication: &'static str) -> Self {
        let mut sql = PgConnection::connect(url).await.unwrap();
        // Names of slots are shared by the whole cluster.
        sqlx::query(
            "SELECT pg_create_logical_replication_slot($1 || '_' || pg_backend_pid(), 'pgoutput', true)",
        )
        .bind(publication)
        .execute(&mut sql)
        .await
        .unwrap();
        Self { sql, name: publication, read: Vec::new() }
    }

    /// Reads what was committed since, and tells whether there was anything.
    async fn read(&mut self) -> bool {
        let query = "SELECT data FROM pg_logical_slot_get_binary_changes(
                         $1 || '_' || pg_backend_pid(), NULL, NULL, 'proto_version', '1', 'publication_names', $1)";
        let changes: Vec<Vec<u8>> =
            sqlx::query_scalar(query).bind(self.name).fetch_all(&mut self.sql).await.unwrap();
        let is_news = !changes.is_empty();
        self.read.extend(changes.into_iter().map(decode));
        is_news
    }

    /// Reads beside the writers, and the rest once they have ended.
    async fn follow(mut self, mut is_written: watch::Receiver<bool>) -> Vec<Message> {
        while !*is_written.borrow_and_update() {
            self.read().await;
        }
        while self.read().await {}
        self.read
    }
}

/// The inserted rows of a table by the names of their columns, with the table; everything else in the slot must be
/// what surrounds them.
fn inserted(messages: Vec<Message>) -> (Relation, Vec<HashMap<String, String>>) {
    let (mut tables, mut rows, mut is_open) = (Vec::<Relation>::new(), Vec::new(), false);
    for message in messages {
        match message {
            Message::Begin => assert!(!std::mem::replace(&mut is_open, true), "transactions come one by one"),
            Message::Commit => assert!(std::mem::take(&mut is_open), "the end of none"),
            Message::Relation(table) => {
                // Described again whenever PostgreSQL has forgotten that it was.
                assert!(tables.iter().all(|known| *known == table), "one table: {table:?}");
                tables.push(table);
            }
            Message::Insert { relation, values } => {
                let table = tables.last().unwrap();
                assert!(is_open && table.id == relation);
                rows.push(table.row(values));
            }
            Message::Update | Message::Delete | Message::Truncate => {
                panic!("{message:?} has left PostgreSQL")
            }
        }
    }
    (tables.pop().unwrap(), rows)
}

fn event(aggregate: &str, version: i64) -> NewEvent {
    // Bytes that are no text, and sometimes none at all.
    let payload =
        (0..u8::try_from(version).unwrap() - 1).map(|byte| byte.wrapping_mul(85)).collect::<Vec<_>>();
    NewEvent {
        id: EventId::from_uuid(Uuid::now_v7()),
        aggregate: Aggregate::new("order", aggregate),
        aggregate_version: version,
        event_type: "order.v1.OrderPlaced".to_owned(),
        schema_version: 1,
        payload: Bytes::from(payload),
        headers: Headers {
            traceparent: Some(TRACEPARENT.to_owned()),
            tracestate: None,
            request_id: Some(Uuid::new_v4()),
        },
        created_at: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(86_400),
    }
}

/// Transactions of one to three events each, every fourth of which is rolled back; what was committed.
async fn write(store: &Store, writer: usize) -> Vec<NewEvent> {
    let aggregate = format!("order-{writer}");
    let (mut committed, mut version) = (Vec::new(), 0);
    for turn in 0..TURNS {
        let mut tx: Tx = store.begin().await.unwrap();
        let events: Vec<_> = (1..).take(1 + turn % 3).map(|next| event(&aggregate, version + next)).collect();
        for event in &events {
            tx.event_append(event).await.unwrap();
        }
        if (turn + writer).is_multiple_of(4) {
            tx.rollback().await;
        } else {
            tx.commit_now().await.unwrap();
            version = events.last().unwrap().aggregate_version;
            committed.extend(events);
        }
    }
    committed
}

/// Stamps and prunes beside the writers, and the rest once they have ended.
async fn sequence(store: &Store, mut is_written: watch::Receiver<bool>) {
    let lease = store.lease("order", Uuid::new_v4(), LEASE).await.unwrap().unwrap();
    loop {
        let is_last = *is_written.borrow_and_update();
        let Stamp::Stamped(events) = store.stamp(&lease, 5, LEASE).await.unwrap() else {
            panic!("the lease is lost")
        };
        store.prune(&lease, Duration::ZERO, 100).await.unwrap();
        if is_last && events.is_empty() {
            return;
        }
    }
}

/// A row as the router needs it is the event as it was appended, not yet stamped.
fn assert_row(row: &HashMap<String, String>, event: &NewEvent) {
    for (column, value) in [
        ("event_id", event.id.to_string()),
        ("aggregate_type", event.aggregate.kind.clone()),
        ("aggregate_id", event.aggregate.id.clone()),
        ("aggregate_version", event.aggregate_version.to_string()),
        ("type", event.event_type.clone()),
        ("payload", format!("\\x{}", HEXLOWER.encode(&event.payload))),
        ("created_at", "1970-01-02 00:00:00+00".to_owned()),
    ] {
        assert_eq!(row.get(column), Some(&value), "{column} of {row:?}");
    }
    let headers: serde_json::Value = serde_json::from_str(&row["headers"]).unwrap();
    let request_id = event.headers.request_id.unwrap();
    assert_eq!(
        headers,
        serde_json::json!({ "traceparent": TRACEPARENT, "request_id": request_id.to_string() })
    );
    assert_eq!(row.get("position"), None, "a stamp never leaves PostgreSQL");
}

/// The claim: whatever the sequencer and the pruner do, a slot on `outbox` gives each committed event once, whole,
/// the events of an aggregate in the order of their versions, and nothing else. A publication of everything gives
/// the stamps and the pruning as well, which is what the router would choke on.
#[tokio::test]
async fn a_slot_on_the_publication_gives_each_event_once_and_in_order_and_nothing_else() {
    let database = database().await;
    let mut sql = PgConnection::connect(database.url()).await.unwrap();
    // Nobody reads here: the pruner need not wait for anybody.
    let prepared = "DELETE FROM outbox_consumer;
                    CREATE PUBLICATION everything FOR TABLE outbox WITH (publish = 'insert, update, delete')";
    sqlx::raw_sql(prepared).execute(&mut sql).await.unwrap();
    let shipped: (String, String, bool) = sqlx::query_as(
        "SELECT schemaname::text, tablename::text, pubviaroot
         FROM pg_publication_tables JOIN pg_publication USING (pubname) WHERE pubname = 'outbox'",
    )
    .fetch_one(&mut sql)
    .await
    .unwrap();
    assert_eq!(shipped, ("public".to_owned(), "outbox".to_owned(), true));
    let (outbox, everything) =
        (Slot::open(database.url(), "outbox").await, Slot::open(database.url(), "everything").await);

    let config = PostgresConfig::for_tests(database.url());
    let store = Store::open(&config, Use::Calls, Arc::<Signals>::default()).unwrap();
    let ((written, is_written), (sequenced, is_sequenced)) = (watch::channel(false), watch::channel(false));
    let writers = async {
        let events = join_all((0..WRITERS).map(|writer| write(&store, writer))).await;
        written.send_replace(true);
        events
    };
    let sequencer = async {
        sequence(&store, is_written.clone()).await;
        sequenced.send_replace(true);
    };
    let (events, (), outbox, everything) = tokio::join!(
        writers,
        sequencer,
        outbox.follow(is_sequenced.clone()),
        everything.follow(is_sequenced.clone())
    );

    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&mut sql).await.unwrap();
    assert_eq!(left, 1, "all but the last were pruned");
    let (table, rows) = inserted(outbox);
    assert_eq!(table.name, "public.outbox");
    assert_types(&table);
    assert_eq!(rows.len(), events.iter().map(Vec::len).sum::<usize>());
    for events in &events {
        // Each aggregate has a writer, so its committed events are in the order of their versions.
        let of_aggregate = |row: &&HashMap<String, String>| row["aggregate_id"] == events[0].aggregate.id;
        let rows: Vec<_> = rows.iter().filter(of_aggregate).collect();
        assert_eq!(rows.len(), events.len());
        rows.iter().zip(events).for_each(|(row, event)| assert_row(row, event));
    }
    let count = |kind: Message| everything.iter().filter(|message| **message == kind).count();
    assert_eq!(count(Message::Update), rows.len(), "each stamp");
    assert_eq!(count(Message::Delete), rows.len() - 1, "each row that was pruned");
}

/// The types that the router's settings take for granted.
fn assert_types(table: &Relation) {
    const BYTEA: u32 = 17;
    const BIGINT: u32 = 20;
    const TEXT: u32 = 25;
    const TIMESTAMPTZ: u32 = 1184;
    const UUID: u32 = 2950;
    const JSONB: u32 = 3802;
    for column in [
        ("event_id", UUID),
        ("aggregate_id", TEXT),
        ("payload", BYTEA),
        ("aggregate_type", TEXT),
        ("type", TEXT),
        ("headers", JSONB),
        ("aggregate_version", BIGINT),
        ("created_at", TIMESTAMPTZ),
    ] {
        assert!(table.columns.contains(&(column.0.to_owned(), column.1)), "{column:?} of {table:?}");
    }
}

/// The claim: slots of tests leave nothing behind that holds back WAL.
#[tokio::test]
async fn a_slot_goes_with_its_session() {
    let database = database().await;
    let mut sql = PgConnection::connect(database.url()).await.unwrap();
    let mut slots = async || {
        let query = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()";
        sqlx::query_scalar::<_, i64>(query).fetch_one(&mut sql).await.unwrap()
    };
    let slot = Slot::open(database.url(), "outbox").await;
    assert_eq!(slots().await, 1);
    drop(slot);
    testkit::wait_until(crate::harness::WITHIN, "the slot's end", async || match slots().await {
        0 => Ok(()),
        left => Err(left),
    })
    .await
    .unwrap();
}
