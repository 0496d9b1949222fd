//! How quick the server is, at what the service does most.

use std::time::{Duration, Instant};

use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc};
use events::{OutboxStore as _, Stamp};
use futures_util::future::try_join_all;
use runtime::doctor::{Seen, Times};
use types::{Clock as _, SystemClock};
use uuid::Uuid;

use super::journey::{app, append, call, euros, event, sign_up};
use super::place::{Place, plain};
use super::scratch::PLAIN;
use crate::app::App;
use crate::app::wallets::GrantCredit;
use crate::domain::wallet::WalletKey;
use crate::storage::{OUTBOX, STREAM, Store, bounded_raw, from_time, within};

const COMMITS: usize = 100;
const COMMIT_MEDIAN: Duration = Duration::from_millis(25);
const EVENTS: usize = 1_000;
const EVENTS_AT_ONCE: usize = 100;
const STAMP_WITHIN: Duration = Duration::from_secs(1);
const TOMBSTONES: usize = 100_000;
const TOMBSTONES_AT_ONCE: usize = 10_000;
const TOMBSTONES_WITHIN: Duration = Duration::from_secs(20);
const LEASE: Duration = Duration::from_secs(30);
const WRITERS: usize = 32;
const GRANTS_OF_EACH: usize = 3;
const HOT_WITHIN: Duration = Duration::from_secs(10);
const SLOW_DISK: &str = "look at the disks' time for a synced write, and at the network between the members";

pub(super) async fn commits(_place: &Place, store: &Store) -> anyhow::Result<Seen> {
    let rows = store.collection::<Document>(PLAIN);
    let mut took = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let row = doc! { "_id": bson::Uuid::from(Uuid::new_v4()) };
        let mut tx = store.begin("doctor").await?;
        bounded_raw(rows.insert_one(row).session(tx.session())).await.map_err(plain)?;
        let began = Instant::now();
        tx.commit_now().await?;
        took.push(began.elapsed());
    }
    let took = Times::of(took)?;
    let found = took.to_string();
    Ok(if took.p50() <= COMMIT_MEDIAN { Seen::ok(found) } else { Seen::advice(found, SLOW_DISK) })
}

pub(super) async fn stamp(_place: &Place, store: &Store) -> anyhow::Result<Seen> {
    append_all(store).await?;
    judged(stamped(store).await?, "")
}

pub(super) async fn tombstones(_place: &Place, store: &Store) -> anyhow::Result<Seen> {
    // What is still to be stamped goes first.
    stamped(store).await?;
    let began = Instant::now();
    bury(store).await?;
    let buried = began.elapsed();
    append_all(store).await?;
    judged(stamped(store).await?, &format!("; {TOMBSTONES} events were made and deleted in {buried:.1?}"))
}

fn judged(took: Duration, besides: &str) -> anyhow::Result<Seen> {
    let found = format!("{took:.2?}{besides}");
    if took <= STAMP_WITHIN {
        return Ok(Seen::ok(found));
    }
    let mend = "db.adminCommand({setParameter: 1, minSnapshotHistoryWindowInSeconds: 5})";
    Ok(Seen::advice(found, format!("{mend}\nand {SLOW_DISK}")))
}

/// Appends the events that are stamped, each of an aggregate of its own.
async fn append_all(store: &Store) -> anyhow::Result<()> {
    for _ in 0..EVENTS / EVENTS_AT_ONCE {
        let ids = (0..EVENTS_AT_ONCE).map(|_| Uuid::now_v7());
        append(store, ids.map(|id| event(id, &id.to_string(), 1))).await?;
    }
    Ok(())
}

/// Stamps all that is pending; how long the largest step took.
async fn stamped(store: &Store) -> anyhow::Result<Duration> {
    let owner = Uuid::from_u128(7);
    let Some(lease) = store.lease(STREAM, owner, LEASE).await? else {
        anyhow::bail!("another has the lease of the scratch database's stream")
    };
    let mut longest = Duration::ZERO;
    loop {
        let began = Instant::now();
        let Stamp::Stamped(events) = store.stamp(&lease, EVENTS, LEASE).await? else {
            anyhow::bail!("the lease was lost")
        };
        if events.is_empty() {
            return Ok(longest);
        }
        longest = longest.max(began.elapsed());
    }
}

/// Inserts and deletes as many events as leave that many deleted keys in each index.
async fn bury(store: &Store) -> anyhow::Result<()> {
    let rows = store.collection::<Document>(OUTBOX);
    let now = from_time(SystemClock.now());
    for _ in 0..TOMBSTONES / TOMBSTONES_AT_ONCE {
        let batch: Vec<Document> = (0..TOMBSTONES_AT_ONCE).map(|_| tombstone(now)).collect();
        within(TOMBSTONES_WITHIN, rows.insert_many(batch)).await.map_err(plain)?;
    }
    let all = rows.delete_many(doc! { "pending": true });
    within(TOMBSTONES_WITHIN, all).await.map_err(plain)?;
    Ok(())
}

fn tombstone(now: bson::DateTime) -> Document {
    let id = Uuid::now_v7();
    doc! {
        "_id": bson::Uuid::from(id),
        "aggregate": { "type": "doctor", "id": id.to_string(), "version": 1_i64 },
        "type": "doctor.v1.Looked",
        "schema_version": 1_i32,
        "payload": Binary { subtype: BinarySubtype::Generic, bytes: Vec::new() },
        "headers": {},
        "created_at": now,
        "pending": true,
    }
}

pub(super) async fn hot_wallet(_place: &Place, store: &Store) -> anyhow::Result<Seen> {
    let app = app(store, 1)?;
    let owner = sign_up(&app, "hot").await?;
    let began = Instant::now();
    let writers = (0..WRITERS).map(|_| write(&app, owner, began));
    let tries: usize = match try_join_all(writers).await {
        Ok(tries) => tries.into_iter().sum(),
        Err(error) => return Ok(Seen::advice(format!("{error:#}"), SLOW_DISK)),
    };
    let took = began.elapsed();
    let wallet = store.wallet_fetch(WalletKey::of(owner, euros(1)?)).await?;
    let (balance, wanted) = (wallet.map(|wallet| wallet.balance), WRITERS * GRANTS_OF_EACH);
    if balance != i64::try_from(wanted).ok() {
        let found = format!("a balance of {balance:?} after {wanted} grants of one");
        return Ok(Seen::failed(found, "a defect: please report it"));
    }
    let again = tries - wanted;
    let rate = wanted as f64 / took.as_secs_f64();
    let found = format!("{wanted} grants in {took:.1?}, {rate:.0} a second, {again} calls were repeated");
    Ok(if took <= HOT_WITHIN { Seen::ok(found) } else { Seen::advice(found, SLOW_DISK) })
}

/// Grants one cent again and again, as a client that repeats a call that comes to a conflict; how many calls it took.
async fn write(app: &App, owner: types::UserId, began: Instant) -> anyhow::Result<usize> {
    let mut tries = 0;
    for _ in 0..GRANTS_OF_EACH {
        let call = call("GrantCredit");
        loop {
            tries += 1;
            match app.grant_credit(&call, GrantCredit { to: owner, amount: euros(1)? }).await {
                Ok(_) => break,
                Err(error) if began.elapsed() > HOT_WITHIN => {
                    return Err(anyhow::Error::from(error).context("not done within 10 s"));
                }
                Err(_) => {}
            }
        }
    }
    Ok(tries)
}
