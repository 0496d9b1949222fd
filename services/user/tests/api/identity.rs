//! What a stream takes for its replica set: a changed privilege changes no epoch, another replica set does.

use std::time::Duration;

use bson::{Document, doc};
use events::{Lease, OutboxStore as _, StoreError};
use user_service::storage::STREAM;
use uuid::Uuid;

use crate::book::Book;
use crate::faults::Private;

const LEASE: Duration = Duration::from_secs(30);

async fn lease(book: &Book) -> Result<Lease, StoreError> {
    Ok(book.store.lease(STREAM, Uuid::from_u128(7), LEASE).await?.expect("nobody else wants it"))
}

/// Makes the stream forget the replica set's id or its name.
async fn change(book: &Book, change: Document) {
    let streams = book.database.collection::<Document>("outbox_lease");
    let updated = streams.update_one(doc! { "_id": STREAM }, change).await.unwrap();
    assert_eq!(updated.modified_count, 1);
}

/// Claim: whether the role may read the replica set's id is the operator's to change at any time: the epoch stays.
#[tokio::test]
async fn a_privilege_that_is_granted_or_taken_away_changes_no_epoch() {
    let server = Private::start().await;
    let (refused, unknown) = (doc! { "errorCode": 13 }, doc! { "errorCode": 59 });
    // Known from the first, or not: the stream is made by the migration.
    for is_allowed_first in [true, false] {
        let urls = server.database().await;
        if !is_allowed_first {
            server.fail("replSetGetConfig", 1_000_000, refused.clone()).await;
        }
        let book = Book::open_on(&urls).await;
        let epoch = lease(&book).await.unwrap().epoch;
        for how in [Some(&refused), None, Some(&unknown), None, Some(&refused)] {
            match how {
                Some(how) => server.fail("replSetGetConfig", 1_000_000, how.clone()).await,
                None => server.mend().await,
            }
            assert_eq!(lease(&book).await.unwrap().epoch, epoch, "{is_allowed_first}, {how:?}");
        }
        server.mend().await;
    }
    server.end().await;
}

/// Claim: what else may keep the id from being read says nothing of who the server is.
#[tokio::test]
async fn an_id_that_cannot_be_read_now_is_asked_for_again() {
    let server = Private::start().await;
    let urls = server.database().await;
    let book = Book::open_on(&urls).await;
    let epoch = lease(&book).await.unwrap().epoch;
    for code in [11_601, 50, 94, 6_543_210] {
        server.fail("replSetGetConfig", 1_000_000, doc! { "errorCode": code }).await;
        let asked = lease(&book).await;
        assert!(matches!(asked, Err(StoreError::Transient(_))), "{code}: {asked:?}");
        server.mend().await;
        assert_eq!(lease(&book).await.unwrap().epoch, epoch, "{code}");
    }
    server.end().await;
}

/// Claim: the id decides where it is known and was known before, whatever the sets are called; else the name does.
#[tokio::test]
async fn another_replica_set_is_another_history() {
    let server = Private::start().await;
    let urls = server.database().await;
    let book = Book::open_on(&urls).await;
    let first = lease(&book).await.unwrap().epoch;
    change(&book, doc! { "$set": { "server": "0123456789abcdef01234567" } }).await;
    let second = lease(&book).await.unwrap().epoch;
    assert_ne!(second, first, "of the same name, with another id");
    server.fail("replSetGetConfig", 1_000_000, doc! { "errorCode": 13 }).await;
    assert_eq!(lease(&book).await.unwrap().epoch, second);
    change(&book, doc! { "$set": { "set_name": "another" } }).await;
    assert_ne!(lease(&book).await.unwrap().epoch, second, "of another name, where no id can be read");
    server.end().await;
}
