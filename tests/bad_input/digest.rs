//! A digest of all state, for comparing before and after: where each stream stands, and what is in both databases.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::{Context as _, Result, ensure};
use bson::{Document, doc};
use sqlx::{Connection as _, PgConnection};
use tests::System;
use tests::rest::database_name;
use tests::streams::head;

/// What may change although nothing was done: whose lease it is and until when, how far somebody or a job has read, looked or
/// audited, what is still to be removed of what is gone, and which refusal is kept for the repeats of its request.
const NOT_STATE: [&str; 14] = [
    // PostgreSQL
    "audit_accounts",
    "audit_state",
    "audit_sums",
    // both
    "consumer_mark",
    "outbox_consumer",
    "outbox_lease",
    "request",
    // MongoDB
    "audit_sum",
    "audit_wallet",
    "deleted_post",
    "erasure",
    "job_mark",
    "wallet_owner",
    "worker_lease",
];
/// More than the tests write.
const ALL: i32 = 100_000;

/// How many rows there are of a kind, and their sum.
type Content = (usize, u64);

/// All state, in short. Sessions have no tables: each change of one is an event in a stream of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    streams: BTreeMap<String, i64>,
    tables: BTreeMap<String, Content>,
    collections: BTreeMap<String, Content>,
}

impl Digest {
    /// Of a system at rest.
    pub(crate) async fn of(system: &System) -> Result<Self> {
        let sessions = (0..16).map(|partition| format!("session-{partition:02}"));
        let mut streams = BTreeMap::new();
        for stream in ["user".to_owned(), "order".to_owned()].into_iter().chain(sessions) {
            let position = head(&system.admin.caller, &stream).await?.position;
            streams.insert(stream, position);
        }
        let digest = Self {
            streams,
            tables: tables(system).await.context("PostgreSQL")?,
            collections: collections(system).await.context("MongoDB")?,
        };
        ensure!(
            digest.tables.contains_key("transfers") && digest.collections.contains_key("wallet"),
            "the state is elsewhere: {digest:?}"
        );
        Ok(digest)
    }
}

async fn tables(system: &System) -> Result<BTreeMap<String, Content>> {
    let url = system.stack.databases.urls_for_services().await?.postgres;
    let mut orders = PgConnection::connect(&url).await.context("connecting")?;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE'",
    )
    .fetch_all(&mut orders)
    .await?;
    let mut tables = BTreeMap::new();
    for name in names.into_iter().filter(|name| is_state(name)) {
        // The name is the catalogue's own.
        // A refused transfer is kept for the repeats of its request: it was cancelled at once and tells no event.
        let which = if name == "transfers" { "WHERE state <> 'cancelled'" } else { "" };
        let rows = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {name} t {which}"));
        let rows: Vec<String> = sqlx::query_scalar(rows).fetch_all(&mut orders).await?;
        tables.insert(name, content(rows));
    }
    Ok(tables)
}

async fn collections(system: &System) -> Result<BTreeMap<String, Content>> {
    let stored = stored_in_mongodb(system).await?.into_iter().filter(|(name, _)| is_state(name));
    // A wallet without anything in it is as good as none, which is what `GetWallet` says of both. A refusal that is kept
    // locks the wallet that it is about, and the wallet counts its locks.
    let is_empty = |row: &Document| {
        ["balance", "held"].iter().all(|field| row.get_i64(field).is_ok_and(|value| value == 0))
    };
    let text = |rows: Vec<Document>| {
        let rows = rows.into_iter().filter(|row| !is_empty(row));
        rows.map(|mut row| {
            row.remove("locks");
            row.to_string()
        })
        .collect()
    };
    Ok(stored.map(|(name, rows)| (name, content(text(rows)))).collect())
}

/// All that user service stores, by collection.
pub(crate) async fn stored_in_mongodb(system: &System) -> Result<BTreeMap<String, Vec<Document>>> {
    let databases = &system.stack.databases;
    let url = databases.urls_for_services().await?.mongodb;
    let (admin, database) = (databases.mongo.admin(), database_name(&url));
    let list = doc! { "listCollections": 1, "nameOnly": true, "cursor": { "batchSize": ALL } };
    let mut collections = BTreeMap::new();
    for collection in first_batch(&admin.run(database, list).await?)? {
        let name = collection.get_str("name").context("a name")?.to_owned();
        let find = doc! { "find": &name, "batchSize": ALL };
        let rows = first_batch(&admin.run(database, find).await?)?;
        collections.insert(name, rows);
    }
    Ok(collections)
}

/// What a command found, which must be all there is.
fn first_batch(answer: &Document) -> Result<Vec<Document>> {
    let cursor = answer.get_document("cursor").context("a cursor")?;
    ensure!(cursor.get_i64("id").ok() == Some(0), "more than {ALL}");
    let rows = cursor.get_array("firstBatch").context("a batch")?;
    rows.iter().map(|row| row.as_document().cloned().context("a document")).collect()
}

fn is_state(name: &str) -> bool {
    !NOT_STATE.contains(&name)
}

/// In no order: rows that are written again move in their table.
fn content(mut rows: Vec<String>) -> Content {
    rows.sort_unstable();
    let mut hasher = DefaultHasher::new();
    rows.hash(&mut hasher);
    (rows.len(), hasher.finish())
}

/// Claim: the digest sees a change that no event tells of.
#[tokio::test]
async fn a_change_without_an_event_changes_the_digest() -> Result<()> {
    let stage = &crate::stage::Stage::get().await?;
    let before = stage.settled_digest().await?;
    assert_eq!(stage.settled_digest().await?, before, "nothing was done");

    let databases = &stage.system.stack.databases;
    let urls = databases.urls_for_services().await?;
    let mut orders = PgConnection::connect(&urls.postgres).await?;
    for stock in ["stock + 1", "stock - 1"] {
        let update = sqlx::AssertSqlSafe(format!("UPDATE products SET stock = {stock} WHERE id = $1::uuid"));
        sqlx::query(update).bind(&stage.market.product_id).execute(&mut orders).await?;
        let now = stage.settled_digest().await?;
        assert_eq!(now == before, stock == "stock - 1", "products: {stock}");
    }
    for (more, same) in [(1_i64, false), (-1, true)] {
        let change = doc! { "q": {}, "u": { "$inc": { "version": more } }, "multi": true };
        let update = doc! { "update": "user", "updates": [change] };
        databases.mongo.admin().run(database_name(&urls.mongodb), update).await?;
        assert_eq!(stage.settled_digest().await? == before, same, "users: {more}");
    }
    Ok(())
}
