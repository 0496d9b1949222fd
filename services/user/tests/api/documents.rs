//! What the database itself refuses, whatever a program writes; and its migrations.

use bson::{Document, doc};
use testkit::TestMongo;
use user_service::config::MongoConfig;
use user_service::storage::{Participant, Schema, Shared, Store};
use uuid::Uuid;

use crate::book::append;
use crate::harness::{Harness, database};

/// The server's code for a document that its collection's validator refuses.
const REFUSED: i32 = 121;

fn code(error: &mongodb::error::Error) -> Option<i32> {
    use mongodb::error::{ErrorKind, WriteFailure};
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}

#[tokio::test]
async fn the_database_refuses_documents_that_break_the_schema() {
    let harness = Harness::start().await;
    harness.customer().await;
    let admin = harness.admin().await;
    let id = bson::Uuid::parse_str(&admin.id).unwrap();
    for (collection, change) in [
        ("user", doc! { "$set": { "role": "emperor" } }),
        ("user", doc! { "$set": { "state": "asleep" } }),
        ("user", doc! { "$set": { "password": "in the clear" } }),
        ("user", doc! { "$unset": { "email_key": "" } }),
        ("user", doc! { "$set": { "post_count": -1_i64 } }),
        ("user", doc! { "$set": { "auth_epoch": "1" } }),
        ("user", doc! { "$set": { "display_name": "x".repeat(51) } }),
        ("credential", doc! { "$set": { "password_hash": "in the clear" } }),
    ] {
        let rows = harness.database.collection::<Document>(collection);
        let error = rows.update_one(doc! { "_id": id }, change.clone()).await.unwrap_err();
        assert_eq!(code(&error), Some(REFUSED), "{collection} {change}: {error}");
    }
    let outbox = harness.database.collection::<Document>("outbox");
    let event =
        doc! { "_id": bson::Uuid::new(), "aggregate": { "type": "user", "id": "1", "version": 0_i64 } };
    assert_eq!(code(&outbox.insert_one(event).await.unwrap_err()), Some(REFUSED));
}

/// The store of who applies migrations.
async fn store(mongo: &TestMongo) -> Store {
    let config = MongoConfig::for_tests(mongo.migrate_url());
    Store::connect(&config, Shared::default()).await.unwrap()
}

#[tokio::test]
async fn reads_are_the_primarys_whatever_the_url_says() {
    let mongo = TestMongo::create().await.unwrap();
    store(&mongo).await.migrate().await.unwrap();
    let separator = if mongo.url().contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}readPreference=secondary", mongo.url());
    let config = MongoConfig::for_tests(&url);
    let store = Store::connect(&config, Shared::default()).await.unwrap();
    // A transaction with any other read preference is refused by the driver.
    let mut tx = store.begin("test").await.unwrap();
    let mut participant = Participant::new(&mut tx, time::OffsetDateTime::UNIX_EPOCH);
    let transfer_id = types::TransferId::from_uuid(Uuid::now_v7());
    assert_eq!(events::ParticipantTx::hold_fetch(&mut participant, transfer_id).await.unwrap(), None);
    tx.rollback().await;
}

#[tokio::test]
async fn migrations_are_applied_once_however_many_run_them() {
    let mongo = TestMongo::create().await.unwrap();
    let (one, two) = (store(&mongo).await, store(&mongo).await);
    assert!(matches!(one.schema().await.unwrap(), Schema::Behind(missing) if missing.len() >= 2));
    let (first, second) = tokio::join!(one.migrate(), two.migrate());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.is_empty() != second.is_empty(), "{first:?} {second:?}");
    assert_eq!(one.schema().await.unwrap(), Schema::Migrated);
    assert!(one.migrate().await.unwrap().is_empty());
    let database = database(mongo.urls()).await;
    let leases = database.collection::<Document>("outbox_lease");
    assert_eq!(leases.count_documents(doc! { "_id": "user" }).await.unwrap(), 1);
    let consumers = database.collection::<Document>("outbox_consumer");
    assert_eq!(consumers.count_documents(doc! { "_id.stream": "user" }).await.unwrap(), 4);
}

#[tokio::test]
async fn a_run_that_died_in_the_middle_is_repeated() {
    let mongo = TestMongo::create().await.unwrap();
    let store = store(&mongo).await;
    store.migrate().await.unwrap();
    let database = database(mongo.urls()).await;
    // As if it had died before the last of it was noted, with its lock run out.
    database.collection::<Document>("migration").delete_one(doc! { "_id": 1 }).await.unwrap();
    database.collection::<Document>("user").drop_index("email_key").await.unwrap();
    let epoch = async || {
        let leases = database.collection::<Document>("outbox_lease");
        leases.find_one(doc! { "_id": "user" }).await.unwrap().unwrap().get("epoch").cloned()
    };
    let before = epoch().await;
    assert_eq!(store.migrate().await.unwrap().len(), 1);
    assert_eq!(epoch().await, before, "the stream and its history stay");
    let names = database.collection::<Document>("user").list_index_names().await.unwrap();
    assert!(names.contains(&"email_key".to_owned()), "{names:?}");
}

#[tokio::test]
async fn a_migration_that_was_changed_after_it_was_applied_is_noticed() {
    let mongo = TestMongo::create().await.unwrap();
    let store = store(&mongo).await;
    store.migrate().await.unwrap();
    let database = database(mongo.urls()).await;
    let migrations = database.collection::<Document>("migration");
    migrations.update_one(doc! { "_id": 1 }, doc! { "$set": { "checksum": "another" } }).await.unwrap();
    for error in [store.schema().await.unwrap_err(), store.migrate().await.unwrap_err()] {
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("0001_users.json was changed"), "{cause}");
    }
}

#[tokio::test]
async fn a_transaction_that_its_owner_dropped_holds_nothing() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let config = harness.mongo_config();
    let store = Store::connect(&config, Shared::default()).await.unwrap();
    let mut tx = store.begin("test").await.unwrap();
    let event = events::NewEvent {
        id: types::EventId::from_uuid(Uuid::now_v7()),
        aggregate: events::Aggregate::new("user", &ann.id),
        aggregate_version: 2,
        event_type: "test.v1.Happened".to_owned(),
        schema_version: 1,
        payload: bytes::Bytes::new(),
        headers: events::Headers::default(),
        created_at: time::OffsetDateTime::UNIX_EPOCH,
    };
    append(&mut tx, &event).await.unwrap();
    drop(tx);
    // The same version of the same aggregate: refused as long as the dropped transaction is open.
    let within = std::time::Duration::from_secs(2);
    testkit::wait_until(within, "the dropped transaction's end", async || {
        let mut tx = store.begin("test").await?;
        append(&mut tx, &event).await?;
        Ok::<_, events::StoreError>(tx.commit_now().await?)
    })
    .await
    .unwrap();
    assert_eq!(harness.events("test.v1.Happened").await, 1);
}
