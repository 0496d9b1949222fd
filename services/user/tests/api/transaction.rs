//! What becomes of a transaction's tries.

use std::sync::atomic::{AtomicU32, Ordering};

use bson::{Document, doc};
use types::Failure;
use user_service::storage::{Finished, Tx};

use crate::book::Book;
use crate::harness::UNCHECKED;

/// Writes one document; a conflict when another transaction holds it.
async fn write(tx: &mut Tx, database: &str) -> user_service::Result<()> {
    // A session goes with the client that began it.
    let counters = tx.session().client().database(database).collection::<Document>(UNCHECKED);
    let more = counters.update_one(doc! { "_id": "counter" }, doc! { "$inc": { "count": 1_i64 } });
    let written = more.session(tx.session()).into_future().await;
    written.map(drop).map_err(|error| Failure::contention(error).into())
}

/// Claim: a try that fails is rolled back before the next begins, which would conflict with what it holds otherwise; and
/// nothing is left of work that was abandoned.
#[tokio::test]
async fn a_try_that_fails_and_work_that_is_abandoned_hold_nothing() {
    let book = Book::open().await;
    let (counters, name) = (book.database.collection::<Document>(UNCHECKED), book.database.name());
    counters.insert_one(doc! { "_id": "counter", "count": 0_i64 }).await.unwrap();
    let tries = &AtomicU32::new(0);
    let work = |mut tx: Tx| async move {
        write(&mut tx, name).await?;
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            return Err(Failure::contention("the first try always fails").into());
        }
        Ok::<Finished<()>, user_service::Error>(tx.commit(()))
    };
    book.store.transaction("test", work).await.unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), 2, "the second try met nothing of the first");
    let abandon = |mut tx: Tx| async move {
        write(&mut tx, name).await?;
        Ok(tx.abandon(()))
    };
    book.store.transaction("test", abandon).await.unwrap();
    let mut tx = book.begin().await;
    write(&mut tx, name).await.unwrap();
    tx.rollback().await;
    let row = counters.find_one(doc! { "_id": "counter" }).await.unwrap().unwrap();
    assert_eq!(row.get_i64("count").unwrap(), 1, "only what was committed");
}
