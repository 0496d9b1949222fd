//! Applies `migrations/user/*.json`: collections with validators, indexes, the stream and its consumers. Forward
//! only, in order, under a lock; each file must suit the code before and after it. Applying one again changes
//! nothing, so a run that died in the middle is simply repeated.

mod apply;
mod file;
mod form;
mod lock;

use std::collections::BTreeMap;
use std::time::Duration;

use bson::{Document, doc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::driver::{UNAUTHORIZED, bounded_raw, classify, code, is_not_allowed};
use super::{SERVER_TIME, Store, bounded};
use crate::error::{Error, Result};
use file::Migration;

pub(crate) use file::Index;
pub(crate) use form::Form;

const COLLECTION: &str = "migration";
/// More foreign collections than this are not named.
const NAMED_MOST: usize = 5;
/// How long a run waits for another one, which may be building an index.
const LOCK_WITHIN: Duration = Duration::from_secs(60);

/// Which migrations this program was built with.
const FILES: &[(&str, &str)] = &[
    ("0001_users.json", include_str!("../../../../migrations/user/0001_users.json")),
    ("0002_wallets.json", include_str!("../../../../migrations/user/0002_wallets.json")),
    ("0003_audit.json", include_str!("../../../../migrations/user/0003_audit.json")),
    ("0004_resyncs.json", include_str!("../../../../migrations/user/0004_resyncs.json")),
    ("0005_acts.json", include_str!("../../../../migrations/user/0005_acts.json")),
    ("0006_holds_and_skips.json", include_str!("../../../../migrations/user/0006_holds_and_skips.json")),
    (
        "0007_set_names_and_due_holds.json",
        include_str!("../../../../migrations/user/0007_set_names_and_due_holds.json"),
    ),
    ("0008_posts.json", include_str!("../../../../migrations/user/0008_posts.json")),
    ("0009_users.json", include_str!("../../../../migrations/user/0009_users.json")),
    ("0010_wallets.json", include_str!("../../../../migrations/user/0010_wallets.json")),
    ("0011_edges.json", include_str!("../../../../migrations/user/0011_edges.json")),
    ("0012_counters.json", include_str!("../../../../migrations/user/0012_counters.json")),
    ("0013_views.json", include_str!("../../../../migrations/user/0013_views.json")),
    ("0014_user_lists.json", include_str!("../../../../migrations/user/0014_user_lists.json")),
    ("0015_deletion.json", include_str!("../../../../migrations/user/0015_deletion.json")),
    ("0016_user_changes.json", include_str!("../../../../migrations/user/0016_user_changes.json")),
    ("0017_holds_contract.json", include_str!("../../../../migrations/user/0017_holds_contract.json")),
];

/// A migration that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Its number.
    #[serde(rename = "_id")]
    pub version: i32,
    /// Its name.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal.
    pub checksum: String,
    /// Optional indexes that this server cannot build.
    pub lacking: Vec<String>,
}

/// How the database's schema compares to what this program was built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// Everything is applied; a newer program may have applied more.
    Migrated,
    /// These are missing.
    Behind(Vec<String>),
}

/// The privileges of a service are not enough.
#[derive(Debug, thiserror::Error)]
#[error("this user may not apply migrations; migrations/user/roles/migrate.js is for one who may")]
struct MayNotMigrate(#[source] Error);

impl Store {
    /// Applies what is missing, and tells what that was.
    ///
    /// # Errors
    /// When the database is away, an applied file has changed since, the user may not, or the server refuses one.
    pub async fn migrate(&self) -> Result<Vec<Applied>> {
        let outcome = self.migrate_with(&embedded()?).await;
        outcome.map_err(|error| match is_not_allowed(&error) {
            true => Error::unavailable(MayNotMigrate(error)),
            false => error,
        })
    }

    /// Whether the schema is what this program needs.
    ///
    /// # Errors
    /// When the database is away, or has another history of migrations.
    pub async fn schema(&self) -> Result<Schema> {
        let embedded = embedded()?;
        let missing = missing(&embedded, &self.migrations_applied().await?)?;
        if missing.is_empty() {
            return Ok(Schema::Migrated);
        }
        Ok(Schema::Behind(missing.into_iter().map(|migration| migration.name.clone()).collect()))
    }

    /// Refuses a database that lacks a migration.
    ///
    /// # Errors
    /// When one is missing, or [`Self::schema`] cannot be told.
    pub(crate) async fn require_migrated(&self) -> Result<()> {
        match self.schema().await? {
            Schema::Migrated => Ok(()),
            Schema::Behind(missing) => {
                let missing = missing.join(", ");
                Err(Error::unavailable(format!(
                    "the database lacks migrations ({missing}); run `user-service migrate`"
                )))
            }
        }
    }

    /// Refuses a database that is somebody else's: it has collections, and none of those that only a run of migrations
    /// makes.
    ///
    /// # Errors
    /// When it is, with the collections' names, or when they cannot be listed.
    pub(crate) async fn require_ours(&self) -> anyhow::Result<()> {
        let mut names = match bounded_raw(self.database().list_collection_names()).await {
            Ok(names) => names,
            Err(error) if code(&error) == Some(UNAUTHORIZED) => {
                anyhow::ensure!(
                    self.place.has_login(),
                    "MongoDB wants a login: {}",
                    self.place.login_advice()
                );
                // A role for this database, which an operator has made.
                return Ok(());
            }
            Err(error) => return Err(classify(error).into()),
        };
        names.retain(|name| !name.starts_with("system."));
        let is_applied = doc! { "_id": { "$type": "int" }, "checksum": { "$type": "string" } };
        let applied = self.collection::<Document>(COLLECTION);
        let applied = bounded(applied.find_one(is_applied).max_time(SERVER_TIME)).await?;
        let is_ours = names.iter().any(|name| name == lock::COLLECTION) || applied.is_some();
        if names.is_empty() || is_ours {
            return Ok(());
        }
        names.sort();
        names.truncate(NAMED_MOST);
        anyhow::bail!(
            "the database `{}` has collections that are not user service's ({}); name another one, which may be empty",
            self.database().name(),
            names.join(", ")
        );
    }

    async fn migrate_with(&self, migrations: &[Migration]) -> Result<Vec<Applied>> {
        let owner = Uuid::new_v4();
        lock::take(self, owner, LOCK_WITHIN).await?;
        let outcome = self.migrate_locked(migrations, owner).await;
        lock::release(self, owner).await;
        outcome
    }

    async fn migrate_locked(&self, migrations: &[Migration], owner: Uuid) -> Result<Vec<Applied>> {
        let done = self.migrations_applied().await?;
        let mut applied = Vec::new();
        for migration in missing(migrations, &done)? {
            lock::renew(self, owner).await?;
            tracing::info!(migration = %migration.name, "applying");
            let lacking = apply::apply(self, migration).await?;
            let row = Applied {
                version: migration.version,
                name: migration.name.clone(),
                checksum: migration.checksum.clone(),
                lacking,
            };
            bounded(self.collection::<Applied>(COLLECTION).insert_one(&row)).await?;
            applied.push(row);
        }
        Ok(applied)
    }

    async fn migrations_applied(&self) -> Result<Vec<Applied>> {
        use futures_util::TryStreamExt as _;
        let applied = self.collection::<Applied>(COLLECTION);
        let find = applied.find(doc! {}).sort(doc! { "_id": 1 });
        let rows = bounded(find.max_time(SERVER_TIME)).await?;
        bounded(rows.try_collect::<Vec<_>>()).await
    }
}

/// Whether this server could not build an optional index of a migration.
pub(super) async fn lacks(store: &Store, version: i32, index: &str) -> Result<bool> {
    let applied = store.collection::<Applied>(COLLECTION);
    let row = bounded(applied.find_one(doc! { "_id": version })).await?;
    Ok(row.is_none_or(|row| row.lacking.iter().any(|lacking| lacking == index)))
}

/// The collections as all migrations together leave them, by name.
pub(crate) fn forms() -> Result<BTreeMap<String, Form>> {
    Ok(form::of(&embedded()?))
}

fn embedded() -> Result<Vec<Migration>> {
    FILES.iter().map(|(name, text)| Migration::parse(name, text)).collect()
}

/// What is not applied yet. A file that changed after it was applied is a mistake that only a person can mend.
fn missing<'a>(migrations: &'a [Migration], applied: &[Applied]) -> Result<Vec<&'a Migration>> {
    let mut missing = Vec::new();
    for migration in migrations {
        match applied.iter().find(|row| row.version == migration.version) {
            None => missing.push(migration),
            Some(row) if row.checksum == migration.checksum => {}
            Some(row) => {
                let what =
                    format!("migration {} was changed after it was applied as {}", migration.name, row.name);
                return Err(Error::internal(what));
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use testkit::TestMongo;

    use super::*;
    use crate::config::MongoConfig;
    use crate::storage::Shared;

    const TEXT: &str = r#"{
        "version": 9,
        "about": "An index that the stand-in for MongoDB lacks.",
        "collections": [{ "name": "note", "indexes": [
            { "name": "body", "key": { "body": "text" }, "optional": true },
            { "name": "order", "key": { "b": 1, "a": -1 } }
        ] }]
    }"#;

    async fn store(mongo: &TestMongo) -> Store {
        let config = MongoConfig::for_tests(mongo.migrate_url());
        Store::connect(&config, Shared::default()).await.unwrap()
    }

    #[tokio::test]
    async fn an_optional_index_that_the_server_lacks_is_named_and_the_rest_is_built() {
        let mongo = TestMongo::create().await.unwrap();
        let store = store(&mongo).await;
        let applied =
            store.migrate_with(&[Migration::parse("0009_notes.json", TEXT).unwrap()]).await.unwrap();
        let is_built = |name: &str| format!("note.{name}");
        let names = store.collection::<bson::Document>("note").list_index_names().await.unwrap();
        assert!(names.contains(&"order".to_owned()));
        assert_eq!(applied[0].lacking.contains(&is_built("body")), !names.contains(&"body".to_owned()));
    }

    #[tokio::test]
    async fn an_index_that_is_needed_and_cannot_be_built_stops_the_migration() {
        let mongo = TestMongo::create().await.unwrap();
        let store = store(&mongo).await;
        let impossible = TEXT.replace("\"text\"", "\"no such kind\"").replace(", \"optional\": true", "");
        let refused = store.migrate_with(&[Migration::parse("0009_notes.json", &impossible).unwrap()]).await;
        assert!(matches!(refused, Err(Error::Failure(types::Failure::Internal(_)))), "{refused:?}");
        assert!(store.migrations_applied().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_index_that_no_release_needs_is_dropped_also_when_a_run_before_has_done_so() {
        let mongo = TestMongo::create().await.unwrap();
        let store = store(&mongo).await;
        let built = Migration::parse("0009_notes.json", TEXT).unwrap();
        let contract = r#"{
            "version": 10,
            "about": "Drops an index.",
            "collections": [{ "name": "note", "dropped_indexes": ["order"] }]
        }"#;
        let dropped = Migration::parse("0010_contract.json", contract).unwrap();
        store.migrate_with(&[built.clone(), dropped.clone()]).await.unwrap();
        let names = store.collection::<bson::Document>("note").list_index_names().await.unwrap();
        assert!(!names.contains(&"order".to_owned()), "{names:?}");
        assert!(
            form::of(&[built, dropped.clone()])["note"].indexes.iter().all(|index| index.name != "order")
        );
        apply::apply(&store, &dropped).await.unwrap();
    }

    #[test]
    fn the_files_are_numbered_in_the_order_in_which_they_are_applied() {
        let versions: Vec<i32> = embedded().unwrap().iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=versions.len() as i32).collect::<Vec<_>>());
    }

    #[test]
    fn keys_keep_their_order_and_unknown_words_are_refused() {
        let migration = Migration::parse("0009_notes.json", TEXT).unwrap();
        let keys: Vec<_> = migration.collections[0].indexes[1].key.keys().collect();
        assert_eq!(keys, ["b", "a"]);
        assert!(Migration::parse("0008_notes.json", TEXT).is_err(), "the name and the version differ");
        assert!(Migration::parse("0009_notes.json", &TEXT.replace("optional", "optinal")).is_err());
    }
}
