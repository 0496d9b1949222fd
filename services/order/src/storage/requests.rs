//! The outcomes of changing calls, by request id: one table for successes and refusals, so that its primary
//! key decides which of several concurrent calls with one id was the first.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use sqlx::types::Json;
use types::{Fingerprint, RequestKey};

use super::{Store, Tx};
use crate::error::{Error, Result};

const FIND: &str =
    "SELECT fingerprint, outcome FROM request WHERE request_id = $1 AND principal = $2 AND method = $3";

/// How long an outcome is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It concerns an order or money.
    Forever,
    /// Everything else.
    ThirtyDays,
}

/// What became of an id.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Recorded {
    fingerprint: Vec<u8>,
    outcome: Json<Value>,
}

impl Recorded {
    /// From columns that a statement read along with others.
    pub(super) fn new(fingerprint: Vec<u8>, outcome: Json<Value>) -> Self {
        Self { fingerprint, outcome }
    }

    /// The outcome, if the content was the same.
    ///
    /// # Errors
    /// [`Error::RequestIdReused`] when it was not.
    pub(crate) fn outcome<T: DeserializeOwned>(
        self,
        key: &RequestKey,
        fingerprint: &Fingerprint,
    ) -> Result<T> {
        let first = Fingerprint::from_bytes(self.fingerprint)
            .ok_or_else(|| Error::internal("a recorded request has no fingerprint"))?;
        if !first.same_content(fingerprint) {
            let fields = first.differing_fields(fingerprint);
            return Err(Error::RequestIdReused { method: key.method, fields });
        }
        serde_json::from_value(self.outcome.0).map_err(Error::internal)
    }
}

impl Store {
    /// What became of an id, if its call has ended.
    pub(crate) async fn request_find(&self, key: &RequestKey) -> Result<Option<Recorded>> {
        let query = sqlx::query(FIND).bind(key.request_id).bind(&key.principal).bind(key.method);
        self.read().await?.row(query).await
    }

    /// Records an outcome that changed nothing else, such as a refusal; `false` when the id has one already.
    pub(crate) async fn request_record(
        &self,
        key: &RequestKey,
        fingerprint: &Fingerprint,
        outcome: &impl Serialize,
        keep: Keep,
    ) -> Result<bool> {
        let query = record(key, fingerprint, outcome, keep)?;
        Ok(self.read().await?.execute(query).await? == 1)
    }

    /// Deletes at most `limit` outcomes whose time is over; tells how many.
    pub(crate) async fn requests_prune(&self, limit: i64) -> Result<u64> {
        let query = sqlx::query(
            "DELETE FROM request WHERE (request_id, principal, method) IN (
                 SELECT request_id, principal, method FROM request
                 WHERE keep_until < clock_timestamp() ORDER BY keep_until LIMIT $1)",
        )
        .bind(limit);
        self.read().await?.execute(query).await
    }
}

impl Tx {
    /// As [`Store::request_find`]. Of calls that lock the same row, do it after the lock.
    pub(crate) async fn request_find(&mut self, key: &RequestKey) -> Result<Option<Recorded>> {
        let query = sqlx::query(FIND).bind(key.request_id).bind(&key.principal).bind(key.method);
        self.row(query).await
    }

    /// Claims an id for this transaction's outcome. `false` when another transaction has it, for which this
    /// waits: roll back, and answer with what that one recorded.
    pub(crate) async fn request_record(
        &mut self,
        key: &RequestKey,
        fingerprint: &Fingerprint,
        outcome: &impl Serialize,
        keep: Keep,
    ) -> Result<bool> {
        Ok(self.execute(record(key, fingerprint, outcome, keep)?).await? == 1)
    }
}

/// Inserts nothing when the id has an outcome, for which it waits if another transaction is about to give it one.
fn record<'q>(
    key: &RequestKey,
    fingerprint: &Fingerprint,
    outcome: &impl Serialize,
    keep: Keep,
) -> Result<Query<'q, Postgres, PgArguments>> {
    let outcome = serde_json::to_value(outcome).map_err(Error::internal)?;
    let query = sqlx::query(
        "INSERT INTO request (request_id, principal, method, fingerprint, outcome, keep_until)
         VALUES ($1, $2, $3, $4, $5, CASE WHEN $6 THEN clock_timestamp() + interval '30 days' END)
         ON CONFLICT DO NOTHING",
    );
    Ok(query
        .bind(key.request_id)
        .bind(&key.principal)
        .bind(key.method)
        .bind(fingerprint.as_bytes())
        .bind(Json(outcome))
        .bind(keep == Keep::ThirtyDays))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use testkit::TestPostgres;
    use uuid::Uuid;

    use super::*;
    use crate::config::PostgresConfig;
    use crate::storage::{Signals, Use, schema};

    #[tokio::test]
    async fn only_outcomes_whose_time_is_over_are_deleted_and_never_those_of_orders() {
        let database = TestPostgres::create().await.unwrap();
        let config = PostgresConfig::for_tests(database.url());
        schema::migrate(&config).await.unwrap();
        let store = Store::open(&config, Use::Calls, Arc::<Signals>::default()).unwrap();
        let fingerprint = Fingerprint::new([1; 32], &[]);
        let key = |method| RequestKey { principal: "ann".to_owned(), method, request_id: Uuid::now_v7() };
        let (young, old, order) = (key("young"), key("old"), key("order"));
        for (key, keep) in [(&young, Keep::ThirtyDays), (&old, Keep::ThirtyDays), (&order, Keep::Forever)] {
            assert!(store.request_record(key, &fingerprint, &"first", keep).await.unwrap());
            assert!(!store.request_record(key, &fingerprint, &"second", keep).await.unwrap());
        }
        let mut tx = store.begin().await.unwrap();
        let age = "UPDATE request SET keep_until = keep_until - interval '30 days' WHERE method <> 'young'";
        tx.execute(sqlx::query(age)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.requests_prune(10).await.unwrap(), 1);
        assert!(store.request_find(&old).await.unwrap().is_none());
        for key in [&young, &order] {
            let recorded = store.request_find(key).await.unwrap().unwrap();
            assert_eq!(recorded.outcome::<String>(key, &fingerprint).unwrap(), "first");
        }
    }
}
