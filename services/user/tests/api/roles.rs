//! What the roles of `migrations/user/roles` let their users do, and what they do not. That they let them do enough is what
//! all other tests show: the service runs as one of them, and its migrations as another.

use std::collections::BTreeSet;

use bson::{Bson, Document, doc};
use mongodb::Client;
use testkit::{MongoAdmin, MongoRole, TestMongo};
use user_service::storage::Schema;

use crate::harness::{Harness, database, migrated, mongo_config};

/// What the server says when a user lacks a privilege.
const UNAUTHORIZED: i32 = 13;
/// The collection in which one run of migrations keeps out the others.
const OF_MIGRATIONS: &str = "migration_lock";

/// The server's code, of a command that fails.
async fn code(url: &str, database: &str, command: Document) -> Option<i32> {
    let client = Client::with_uri_str(url).await.unwrap();
    let error = client.database(database).run_command(command).await.err()?;
    match *error.kind {
        mongodb::error::ErrorKind::Command(error) => Some(error.code),
        kind => panic!("{kind:?}"),
    }
}

fn change_of_form(collection: &str) -> Document {
    doc! { "collMod": collection, "validationLevel": "strict" }
}

fn index(collection: &str) -> Document {
    doc! { "createIndexes": collection, "indexes": [{ "name": "more", "key": { "more": 1 } }] }
}

fn deletion(collection: &str) -> Document {
    doc! { "delete": collection, "deletes": [{ "q": { "_id": "nobody" }, "limit": 1 }] }
}

/// Claim: the service changes documents of its collections, and no collection, no index and no other database.
#[tokio::test]
async fn the_service_may_change_documents_and_nothing_else() {
    let (mongo, other) = (TestMongo::create().await.unwrap(), TestMongo::create().await.unwrap());
    let _store = migrated(mongo.urls()).await;
    let may = async |of: &TestMongo, command| code(mongo.url(), of.name(), command).await;
    assert_eq!(may(&mongo, deletion("user")).await, None);
    for command in [
        change_of_form("user"),
        index("user"),
        doc! { "dropIndexes": "user", "index": "email_key" },
        doc! { "drop": "user" },
        doc! { "create": "another" },
        doc! { "dropDatabase": 1 },
        deletion("migration"),
        deletion("another"),
    ] {
        assert_eq!(may(&mongo, command.clone()).await, Some(UNAUTHORIZED), "{command}");
    }
    for command in [doc! { "find": "user" }, deletion("user")] {
        assert_eq!(may(&other, command.clone()).await, Some(UNAUTHORIZED), "elsewhere: {command}");
    }
    let admin = async |command| code(mongo.url(), "admin", command).await;
    assert_eq!(admin(doc! { "replSetGetConfig": 1 }).await, None);
    assert_eq!(admin(doc! { "getParameter": 1, "transactionLifetimeLimitSeconds": 1 }).await, None);
    for command in [
        doc! { "setParameter": 1, "transactionLifetimeLimitSeconds": 60 },
        doc! { "createUser": "t_more", "pwd": "word", "roles": [] },
    ] {
        assert_eq!(admin(command.clone()).await, Some(UNAUTHORIZED), "{command}");
    }
}

/// Claim: who applies migrations does all that they need in one database, and nothing in another.
#[tokio::test]
async fn migrations_are_of_one_database() {
    let (mongo, other) = (TestMongo::create().await.unwrap(), TestMongo::create().await.unwrap());
    let _store = migrated(mongo.urls()).await;
    let may = async |of: &TestMongo, command| code(mongo.migrate_url(), of.name(), command).await;
    for command in [change_of_form("user"), index("user"), doc! { "create": "another" }] {
        assert_eq!(may(&mongo, command.clone()).await, None, "{command}");
    }
    assert_eq!(may(&mongo, doc! { "dropDatabase": 1 }).await, Some(UNAUTHORIZED));
    for command in [doc! { "find": "user" }, doc! { "create": "user" }, deletion("user")] {
        assert_eq!(may(&other, command.clone()).await, Some(UNAUTHORIZED), "elsewhere: {command}");
    }
    let more = doc! { "createUser": "t_more", "pwd": "word", "roles": [] };
    assert_eq!(code(mongo.migrate_url(), "admin", more).await, Some(UNAUTHORIZED));
}

/// Claim: who looks sees every collection except the hashes of passwords, and changes none.
#[tokio::test]
async fn who_looks_changes_nothing_and_sees_no_password() {
    let (mongo, other) = (TestMongo::create().await.unwrap(), TestMongo::create().await.unwrap());
    let _store = migrated(mongo.urls()).await;
    let may = async |of: &TestMongo, command| code(&mongo.urls().reader, of.name(), command).await;
    for command in [doc! { "find": "entry" }, doc! { "listCollections": 1 }, doc! { "listIndexes": "entry" }]
    {
        assert_eq!(may(&mongo, command.clone()).await, None, "{command}");
    }
    let update = doc! { "update": "wallet", "updates": [{ "q": {}, "u": { "$set": { "balance": 1_i64 } } }] };
    let insertion = doc! { "insert": "wallet", "documents": [{ "_id": 1 }] };
    for command in
        [doc! { "find": "credential" }, update, insertion, deletion("wallet"), doc! { "drop": "wallet" }]
    {
        assert_eq!(may(&mongo, command.clone()).await, Some(UNAUTHORIZED), "{command}");
    }
    assert_eq!(may(&other, doc! { "find": "entry" }).await, Some(UNAUTHORIZED));
}

/// The collections that a role names.
async fn named(admin: &MongoAdmin, role: &str) -> BTreeSet<String> {
    let asked = doc! { "rolesInfo": { "role": role, "db": "admin" }, "showPrivileges": true };
    let answer = admin.run("admin", asked).await.unwrap();
    let [Bson::Document(role)] = answer.get_array("roles").unwrap().as_slice() else { panic!("{answer}") };
    let names = role.get_array("privileges").unwrap().iter().filter_map(|privilege| {
        let resource = privilege.as_document().unwrap().get_document("resource").unwrap();
        resource.get_str("collection").ok().filter(|name| !name.is_empty())
    });
    names.map(str::to_owned).collect()
}

/// Claim: no collection that a migration adds is forgotten in the roles, and they name none that is gone.
#[tokio::test]
async fn the_roles_name_the_collections_that_there_are() {
    let mongo = TestMongo::create().await.unwrap();
    let _store = migrated(mongo.urls()).await;
    let admin = MongoAdmin::new(mongo.admin_url()).unwrap();
    let there = database(mongo.urls()).await.list_collection_names().await.unwrap();
    let mut there: BTreeSet<String> = there.into_iter().filter(|name| name != OF_MIGRATIONS).collect();
    assert_eq!(named(&admin, &MongoRole::Runtime.name(mongo.name())).await, there);
    assert!(there.remove("credential"));
    assert_eq!(named(&admin, &MongoRole::Reader.name(mongo.name())).await, there);
}

/// Claim: migrations that are run as the service say which role is for them and what the server refused, and change
/// nothing; the service then says that they are missing, and serves once they were run as they should be.
#[tokio::test]
async fn migrations_run_as_the_service_are_told_what_is_missing() {
    let mongo = TestMongo::create().await.unwrap();
    let refused = user_service::migrate(&mongo_config(mongo.url())).await.unwrap_err();
    let told = format!("{refused:#}");
    for part in ["may not apply migrations", "migrations/user/roles/migrate.js", "not authorized on"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(database(mongo.urls()).await.list_collection_names().await.unwrap().is_empty());
    let harness = Harness::start_on(mongo.urls(), mongo.url(), &[]).await;
    harness.customer().await;
    let store = migrated(mongo.urls()).await;
    assert_eq!(store.schema().await.unwrap(), Schema::Migrated);
}
