//! Does what one file says. Everything in here may be done twice.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::IndexModel;
use mongodb::options::{IndexOptions, ValidationAction, ValidationLevel};
use uuid::Uuid;

use super::file::{Begins, Collection, Consumer, Index, Migration};
use crate::error::Result;
use crate::storage::Store;
use crate::storage::backbone::lease;
use crate::storage::driver::{bounded, classify, code, within};

const NAMESPACE_EXISTS: i32 = 48;
const INDEX_NOT_FOUND: i32 = 27;
/// `CannotCreateIndex` and `CommandNotSupported`: what a server says that lacks a kind of index.
const CANNOT: [i32; 2] = [67, 115];
/// An index over a large collection takes its time; the server goes on with it when we stop waiting.
const SCHEMA_TIME: Duration = Duration::from_secs(600);

/// Applies a migration; tells which optional indexes the server cannot build.
pub(super) async fn apply(store: &Store, migration: &Migration) -> Result<Vec<String>> {
    let mut lacking = Vec::new();
    for collection in &migration.collections {
        make(store, collection).await?;
        for index in &collection.indexes {
            if let Err(reason) = build(store, &collection.name, index).await? {
                let index = format!("{}.{}", collection.name, index.name);
                tracing::warn!(index, reason, "this server cannot build an optional index; doing without");
                lacking.push(index);
            }
        }
        for index in &collection.dropped_indexes {
            drop_index(store, &collection.name, index).await?;
        }
    }
    for stream in &migration.streams {
        lease::stream_create(store, stream).await?;
    }
    for consumer in &migration.consumers {
        if let Some(Begins::AtHead) = consumer.begins {
            store.mark_create_at_head(&consumer.name, &consumer.stream).await?;
        }
        register(store, consumer).await?;
    }
    Ok(lacking)
}

async fn make(store: &Store, collection: &Collection) -> Result<()> {
    let database = store.database();
    let create = database.create_collection(&collection.name);
    let create = match &collection.validator {
        None => create,
        Some(validator) => create
            .validator(validator.clone())
            .validation_level(ValidationLevel::Strict)
            .validation_action(ValidationAction::Error),
    };
    match within(SCHEMA_TIME, create).await {
        Ok(()) => return Ok(()),
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => {}
        Err(error) => return Err(classify(error).into()),
    }
    let Some(validator) = &collection.validator else {
        return Ok(());
    };
    let change = doc! {
        "collMod": &collection.name,
        "validator": validator.clone(),
        "validationLevel": "strict",
        "validationAction": "error",
    };
    within(SCHEMA_TIME, store.database().run_command(change)).await.map_err(classify)?;
    Ok(())
}

/// The inner error is why an optional index was not built.
async fn build(store: &Store, collection: &str, index: &Index) -> Result<Result<(), String>> {
    let mut options = IndexOptions::default();
    options.name = Some(index.name.clone());
    options.unique = index.unique.then_some(true);
    options.partial_filter_expression = index.partial.clone();
    options.weights = index.weights.clone();
    options.default_language = index.default_language.clone();
    options.expire_after = index.ttl_seconds.map(Duration::from_secs);
    let model = IndexModel::builder().keys(index.key.clone()).options(options).build();
    let rows = store.collection::<Document>(collection);
    let building = rows.create_index(model);
    match within(SCHEMA_TIME, building).await {
        Ok(_) => Ok(Ok(())),
        Err(error) if index.optional && code(&error).is_some_and(|code| CANNOT.contains(&code)) => {
            Ok(Err(error.to_string()))
        }
        Err(error) => Err(classify(error).into()),
    }
}

/// One that is not there was dropped by a run that died.
async fn drop_index(store: &Store, collection: &str, index: &str) -> Result<()> {
    let rows = store.collection::<Document>(collection);
    match within(SCHEMA_TIME, rows.drop_index(index)).await {
        Err(error) if code(&error) != Some(INDEX_NOT_FOUND) => Err(classify(error).into()),
        _ => Ok(()),
    }
}

/// A consumer that has acknowledged nothing holds back all pruning.
async fn register(store: &Store, consumer: &Consumer) -> Result<()> {
    let rows = store.collection::<Document>(lease::CONSUMERS);
    let id = doc! { "_id": { "stream": &consumer.stream, "consumer": &consumer.name } };
    let fresh = doc! { "$setOnInsert": { "epoch": bson::Uuid::from(Uuid::nil()), "acknowledged": 0_i64 } };
    bounded(rows.update_one(id, fresh).upsert(true)).await.map(drop)
}
