//! Whoever is deleted is in no database any more, of whichever service.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::update_mask::FieldMask;
use api::user::v1::{DeleteUserRequest, Profile, UpdateUserRequest, User};
use bson::{Document, doc};
use sqlx::{Connection as _, PgConnection};
use testkit::client::{PASSWORD, Person, request_id};
use testkit::{RedisAdmin, wait_until};
use tests::System;
use tests::people::{Market, PRICE, cancel};
use tests::rest::database_name;
use tests::status::code_and_reason;
use tonic::Code;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(30);
/// More than the tests write.
const ALL: i32 = 100_000;
/// Where it may be: events that have not been pruned have the display names of their time.
const KEPT: &str = "outbox";
/// How many keys have this in their name or what they hold.
const FIND: &str = "local found = 0
    for _, key in ipairs(redis.call('KEYS', '*')) do
        local held = redis.call('DUMP', key)
        if string.find(key, ARGV[1], 1, true) or string.find(held, ARGV[1], 1, true) then found = found + 1 end
    end
    return found";

/// Where these bytes are: tables, collections, and `redis`.
async fn traces(system: &System, canary: &str) -> Result<Vec<String>> {
    let databases = &system.stack.databases;
    let urls = databases.urls_for_services().await?;
    let mut found = Vec::new();

    let mut orders = PgConnection::connect(&urls.postgres).await?;
    let tables = "SELECT table_name::text FROM information_schema.tables
                  WHERE table_schema = 'public' AND table_type = 'BASE TABLE'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut orders).await?;
    for table in tables.into_iter().filter(|table| table != KEPT) {
        // The name is the catalogue's own.
        let count = format!("SELECT count(*) FROM {table} t WHERE position($1 IN t::text) > 0");
        let count: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(count)).bind(canary).fetch_one(&mut orders).await?;
        if count > 0 {
            found.push(format!("order.{table}"));
        }
    }

    let (admin, database) = (databases.mongo.admin(), database_name(&urls.mongodb));
    let list = doc! { "listCollections": 1, "nameOnly": true, "cursor": { "batchSize": ALL } };
    for collection in first_batch(&admin.run(database, list).await?)? {
        let name = collection.get_str("name").context("a name")?.to_owned();
        let rows = first_batch(&admin.run(database, doc! { "find": &name, "batchSize": ALL }).await?)?;
        if name != KEPT && rows.iter().any(|row| row.to_string().contains(canary)) {
            found.push(format!("user.{name}"));
        }
    }

    let number = urls.redis_session.rsplit('/').next().and_then(|number| number.parse().ok());
    let redis = RedisAdmin::new(&urls.redis_session)?;
    let count = redis.run(number.unwrap_or_default(), &["EVAL", FIND, "0", canary]).await?;
    if count.trim() != "0" {
        found.push("redis".to_owned());
    }
    found.sort();
    Ok(found)
}

/// What a command found, which must be all there is.
fn first_batch(answer: &Document) -> Result<Vec<Document>> {
    let cursor = answer.get_document("cursor").context("a cursor")?;
    ensure!(cursor.get_i64("id").ok() == Some(0), "more than {ALL}");
    let rows = cursor.get_array("firstBatch").context("a batch")?;
    rows.iter().map(|row| row.as_document().cloned().context("a document")).collect()
}

fn deletion(of: &Person) -> DeleteUserRequest {
    DeleteUserRequest {
        request_id: request_id(),
        user_id: of.user_id.clone(),
        password: PASSWORD.to_owned(),
        ..DeleteUserRequest::default()
    }
}

#[tokio::test]
async fn who_is_deleted_is_in_no_database_but_by_the_id() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, PRICE, 2).await?;
    let canary = format!("canary{}", &Uuid::new_v4().simple().to_string()[..12]);
    let leaver = system.api.sign_up(&canary).await?;
    let update = UpdateUserRequest {
        request_id: request_id(),
        user_id: leaver.user_id.clone(),
        user: Some(User {
            profile: Some(Profile { bio: canary.clone(), ..Profile::default() }),
            ..User::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["profile.bio".to_owned()] }),
        etag: String::new(),
    };
    leaver.caller.users().update_user(update).await.context("UpdateUser")?;
    let placed = leaver.caller.orders().place_order(market.order_request(1)).await.context("PlaceOrder")?;
    let order_id = placed.into_inner().order.context("an order")?.id;
    let status = leaver.caller.users().delete_user(deletion(&leaver)).await.expect_err("an open order");
    assert_eq!(code_and_reason(&status), (Code::FailedPrecondition, "USER_HAS_BALANCE".to_owned()));
    leaver.caller.orders().cancel_order(cancel(&order_id)).await.context("CancelOrder")?;
    assert_eq!(traces(system, &canary).await?, ["user.request", "user.user"]);
    // That it would be found elsewhere, too.
    let by_id = traces(system, &leaver.user_id).await?;
    for place in ["order.customers", "order.orders", "redis"] {
        assert!(by_id.iter().any(|found| found == place), "{place}: {by_id:?}");
    }

    leaver.caller.users().delete_user(deletion(&leaver)).await.context("DeleteUser")?;
    wait_until(SOON, "the last trace to be gone", async || {
        let found = traces(system, &canary).await.map_err(|error| format!("{error:#}"))?;
        if found.is_empty() { Ok(()) } else { Err(found.join(", ")) }
    })
    .await?;
    wait_until(SOON, "the session to end", async || {
        match leaver.caller.orders().place_order(market.order_request(1)).await {
            Err(status) if status.code() == Code::Unauthenticated => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}
