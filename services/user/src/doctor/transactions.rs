//! What transactions do on this server, beside and after each other.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bson::{Document, doc};
use events::{OutboxStore as _, Stamp};
use mongodb::IndexModel;
use mongodb::error::TRANSIENT_TRANSACTION_ERROR;
use mongodb::options::{DeleteOneModel, InsertOneModel, UpdateOneModel, WriteModel};
use mongodb::{Collection, Namespace};
use runtime::doctor::Seen;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::place::{Place, plain};
use super::scratch::{OTHER, PLAIN};
use crate::storage::{DUPLICATE_KEY, STREAM, Store, Tx, bounded_raw, code, within};

/// How long one who has to wait is watched.
const WATCHED: Duration = Duration::from_millis(300);
/// What need not be waited for comes within this, also from a busy server.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Longer than the server's limit for a transaction and its sweep for those that are past it.
const FREE_WITHIN: Duration = Duration::from_secs(6);
/// When nobody waits any longer for them.
const GIVE_UP: Duration = Duration::from_secs(12);
const WRITE_CONFLICT: i32 = 112;
const NO_SUCH_TRANSACTION: i32 = 251;
const NOT_MONGODB: &str = "run MongoDB 8.0 itself, and no server that only speaks its protocol";

fn rows(store: &Store) -> Collection<Document> {
    store.collection(PLAIN)
}

fn one_more() -> Document {
    doc! { "$inc": { "count": 1_i64 } }
}

/// A new document for a check of its own.
async fn row(store: &Store) -> anyhow::Result<Document> {
    let id = doc! { "_id": bson::Uuid::from(Uuid::new_v4()) };
    let mut row = id.clone();
    row.insert("count", 0_i64);
    bounded_raw(rows(store).insert_one(row)).await.map_err(plain)?;
    Ok(id)
}

/// The code that a server has told.
fn coded(code: Option<i32>) -> String {
    match code {
        Some(0) => "no error".to_owned(),
        Some(code) => code.to_string(),
        None => "no code".to_owned(),
    }
}

/// Counts one more in a transaction.
async fn count_in(store: &Store, tx: &mut Tx, id: &Document) -> anyhow::Result<()> {
    let rows = rows(store);
    let write = rows.update_one(id.clone(), one_more());
    bounded_raw(write.session(tx.session())).await.map_err(plain)?;
    Ok(())
}

async fn count(store: &Store, id: &Document) -> anyhow::Result<Option<i64>> {
    let row = bounded_raw(rows(store).find_one(id.clone())).await.map_err(plain)?;
    Ok(row.and_then(|row| row.get_i64("count").ok()))
}

fn insert(namespace: Namespace, id: &Document) -> WriteModel {
    InsertOneModel::builder().namespace(namespace).document(id.clone()).build().into()
}

fn update(namespace: Namespace, id: &Document, upsert: bool) -> WriteModel {
    let update = UpdateOneModel::builder().namespace(namespace).filter(id.clone()).update(one_more());
    update.upsert(upsert).build().into()
}

pub(super) async fn bulk_write(place: &Place, store: &Store) -> anyhow::Result<Seen> {
    let (known, gone) = (row(store).await?, row(store).await?);
    let [new, unknown, upserted] = std::array::from_fn(|_| doc! { "_id": bson::Uuid::from(Uuid::new_v4()) });
    let here = rows(store).namespace();
    let there = store.collection::<Document>(OTHER).namespace();
    let models = vec![
        update(here.clone(), &known, false),
        insert(there, &new),
        update(here.clone(), &unknown, false),
        update(here.clone(), &upserted, true),
        DeleteOneModel::builder().namespace(here).filter(gone).build().into(),
    ];
    let mut tx = store.begin("doctor").await?;
    let sent = bounded_raw(store.client().bulk_write(models).session(tx.session())).await;
    let done = match sent {
        Ok(done) => done,
        Err(error) => {
            tx.rollback().await;
            return Ok(place.lacks(&plain(error).to_string(), NOT_MONGODB));
        }
    };
    tx.commit_now().await?;
    let found = format!(
        "{} inserted, {} matched, {} upserted, {} deleted",
        done.inserted_count, done.matched_count, done.upserted_count, done.deleted_count
    );
    let is_counted =
        (done.inserted_count, done.matched_count, done.upserted_count, done.deleted_count) == (1, 1, 1, 1);
    let is_done = count(store, &known).await? == Some(1) && count(store, &upserted).await? == Some(1);
    if is_counted && is_done { Ok(Seen::ok(found)) } else { Ok(Seen::failed(found, NOT_MONGODB)) }
}

pub(super) async fn duplicate(place: &Place, store: &Store) -> anyhow::Result<Seen> {
    let known = row(store).await?;
    let mut tx = store.begin("doctor").await?;
    bounded_raw(rows(store).find_one(known.clone()).session(tx.session())).await.map_err(plain)?;
    let twice = vec![insert(rows(store).namespace(), &known)];
    let refused = bounded_raw(store.client().bulk_write(twice).session(tx.session())).await;
    let told = refused.err().and_then(|error| code(&error));
    if told != Some(DUPLICATE_KEY) {
        tx.rollback().await;
        return Ok(Seen::failed(coded(told), NOT_MONGODB));
    }
    let next = bounded_raw(rows(store).find_one(known).session(tx.session())).await;
    tx.rollback().await;
    match next {
        Err(error) if code(&error) == Some(NO_SUCH_TRANSACTION) => Ok(Seen::ok("11000, and 251 after it")),
        Err(error) => Ok(Seen::failed(format!("11000, and then {}", plain(error)), NOT_MONGODB)),
        Ok(_) => Ok(place.lacks("11000, and the transaction goes on", NOT_MONGODB)),
    }
}

pub(super) async fn conflict(_place: &Place, store: &Store) -> anyhow::Result<Seen> {
    let id = row(store).await?;
    let (mut first, mut second) = (store.begin("doctor").await?, store.begin("doctor").await?);
    for tx in [&mut first, &mut second] {
        bounded_raw(rows(store).find_one(id.clone()).session(tx.session())).await.map_err(plain)?;
    }
    count_in(store, &mut first, &id).await?;
    let began = Instant::now();
    let lost = bounded_raw(rows(store).update_one(id, one_more()).session(second.session())).await;
    let took = began.elapsed();
    second.rollback().await;
    first.commit_now().await?;
    let Err(error) = lost else { return Ok(Seen::failed("both have written", NOT_MONGODB)) };
    let labelled = error.contains_label(TRANSIENT_TRANSACTION_ERROR);
    let found = format!(
        "{}, {} its label, after {took:.0?}",
        coded(code(&error)),
        if labelled { "with" } else { "without" }
    );
    let is_right = code(&error) == Some(WRITE_CONFLICT) && labelled && took < AT_ONCE;
    Ok(if is_right { Seen::ok(found) } else { Seen::failed(found, NOT_MONGODB) })
}

pub(super) async fn outside(_place: &Place, store: &Store) -> anyhow::Result<Seen> {
    let id = row(store).await?;
    let mut tx = store.begin("doctor").await?;
    count_in(store, &mut tx, &id).await?;
    let rows = rows(store);
    let mut waiting = within(GIVE_UP, rows.update_one(id.clone(), one_more()));
    let early = timeout(WATCHED, &mut waiting).await;
    if let Ok(early) = early {
        tx.rollback().await;
        let found = early.map_or_else(|error| plain(error).to_string(), |_| "it did not wait".to_owned());
        return Ok(Seen::failed(found, NOT_MONGODB));
    }
    tx.commit_now().await?;
    let ended = Instant::now();
    if let Err(error) = waiting.await {
        return Ok(Seen::failed(plain(error).to_string(), NOT_MONGODB));
    }
    let after = ended.elapsed();
    let both = count(store, &id).await?;
    ensure!(both == Some(2), "of two writes {both:?} are there");
    Ok(Seen::ok(format!("it was done {after:.0?} after the end")))
}

pub(super) async fn index(_place: &Place, store: &Store) -> anyhow::Result<Seen> {
    let id = row(store).await?;
    let mut tx = store.begin("doctor").await?;
    count_in(store, &mut tx, &id).await?;
    let model = IndexModel::builder().keys(doc! { "count": 1 }).build();
    let rows = rows(store);
    let mut building = within(GIVE_UP, rows.create_index(model));
    let early = timeout(WATCHED, &mut building).await;
    let committed = tx.commit_now().await;
    let ended = Instant::now();
    let (built, when) = match early {
        Ok(built) => (built, "without waiting for the transaction".to_owned()),
        Err(_) => {
            let built = building.await;
            (built, format!("{:.0?} after the transaction's end", ended.elapsed()))
        }
    };
    if let Err(error) = built {
        return Ok(Seen::failed(
            plain(error).to_string(),
            "rs.status(): is every voting member up? And run migrations while nobody writes",
        ));
    }
    Ok(match committed {
        Ok(()) => Seen::ok(format!("built {when}")),
        Err(error) => Seen::failed(
            types::chain(&error),
            "rs.status(): is every voting member up? And run migrations while nobody writes",
        ),
    })
}

/// A client that is gone sends nothing more, and the server finds out by its limit alone.
pub(super) async fn abandoned(_place: &Place, store: &Store) -> anyhow::Result<Seen> {
    let id = row(store).await?;
    let mut tx = store.begin("doctor").await?;
    count_in(store, &mut tx, &id).await?;
    let began = Instant::now();
    let free = within(GIVE_UP, rows(store).update_one(id, one_more())).await;
    let took = began.elapsed();
    tx.rollback().await;
    let mend = "db.adminCommand({setParameter: 1, transactionLifetimeLimitSeconds: 3})";
    match free {
        Ok(_) if took <= FREE_WITHIN => Ok(Seen::ok(format!("free after {:.1} s", took.as_secs_f64()))),
        Ok(_) => Ok(Seen::failed(format!("free after {:.1} s", took.as_secs_f64()), mend)),
        Err(error) => {
            let (waited, told) = (took.as_secs_f64(), plain(error));
            Ok(Seen::failed(format!("not free after {waited:.1} s: {told}"), mend))
        }
    }
}

pub(super) async fn commit_twice(_place: &Place, store: &Store) -> anyhow::Result<Seen> {
    let id = row(store).await?;
    let mut tx = store.begin("doctor").await?;
    count_in(store, &mut tx, &id).await?;
    bounded_raw(tx.session().commit_transaction()).await.map_err(plain)?;
    let again = bounded_raw(tx.session().commit_transaction()).await;
    let written = count(store, &id).await?;
    Ok(match again {
        Ok(()) if written == Some(1) => Seen::ok("the same answer, and written once"),
        Ok(()) => Seen::failed(format!("written {} times", written.unwrap_or_default()), NOT_MONGODB),
        Err(error) => Seen::failed(plain(error).to_string(), NOT_MONGODB),
    })
}

/// The server is told to abort behind the driver's back, as an operator or the server itself may end a transaction.
pub(super) async fn commit_after_abort(_place: &Place, store: &Store) -> anyhow::Result<Seen> {
    let id = row(store).await?;
    let mut tx = store.begin("doctor").await?;
    count_in(store, &mut tx, &id).await?;
    let admin = store.client().database("admin");
    let abort = admin.run_command(doc! { "abortTransaction": 1 });
    bounded_raw(abort.session(tx.session())).await.map_err(plain)?;
    let told = bounded_raw(tx.session().commit_transaction()).await;
    let written = count(store, &id).await?;
    let told = told.map_or_else(|error| code(&error), |()| Some(0));
    let written = written.unwrap_or_default();
    let found = format!("{}, and {written} writes are there", coded(told));
    let is_right = told == Some(NO_SUCH_TRANSACTION) && written == 0;
    Ok(if is_right { Seen::ok(found) } else { Seen::failed(found, NOT_MONGODB) })
}

pub(super) async fn lease(_place: &Place, store: &Store) -> anyhow::Result<Seen> {
    let (one, other, time) = (Uuid::new_v4(), Uuid::new_v4(), Duration::from_millis(500));
    let Some(first) = store.lease(STREAM, one, time).await? else {
        return Ok(Seen::failed("a lease that nobody has was not given", NOT_MONGODB));
    };
    let began = Instant::now();
    let second = loop {
        match store.lease(STREAM, other, time).await? {
            Some(lease) => break lease,
            None if began.elapsed() > GIVE_UP => return Ok(Seen::failed("it never runs out", NOT_MONGODB)),
            None => sleep(Duration::from_millis(20)).await,
        }
    };
    let took = began.elapsed();
    let is_lost = store.stamp(&first, 1, time).await? == Stamp::LeaseLost;
    store.lease(STREAM, other, Duration::ZERO).await?;
    let found =
        format!("500 ms, given on after {} ms, fence {} to {}", took.as_millis(), first.fence, second.fence);
    let is_right = is_lost && second.fence > first.fence && took >= time / 2;
    Ok(if is_right { Seen::ok(found) } else { Seen::failed(found, NOT_MONGODB) })
}
