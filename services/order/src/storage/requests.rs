//! The outcomes of changing calls, by request id: one table for successes and refusals, so that its primary
//! key decides which of several concurrent calls with one id was the first.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use sqlx::types::Json;
use types::{Call, Fingerprint, Keep, RequestKey};

use super::statement::statements;
use super::{Store, Tx};
use crate::error::{Error, Result};

statements! {
    REQUEST_FETCH =
        "SELECT fingerprint, outcome FROM request WHERE request_id = $1 AND principal = $2 AND method = $3";

    REQUESTS_PRUNE =
        "DELETE FROM request WHERE (request_id, principal, method) IN (
             SELECT request_id, principal, method FROM request
             WHERE keep_until < clock_timestamp() ORDER BY keep_until LIMIT $1)";

    REQUEST_INSERT =
        "INSERT INTO request (request_id, principal, method, fingerprint, outcome, keep_until)
         VALUES ($1, $2, $3, $4, $5, CASE WHEN $6 THEN clock_timestamp() + interval '30 days' END)
         ON CONFLICT DO NOTHING";
}

/// What is kept of the first call with a request id.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Saved {
    fingerprint: Vec<u8>,
    outcome: Json<Value>,
}

impl Saved {
    /// From columns that a statement read along with others.
    pub(super) fn new(fingerprint: Vec<u8>, outcome: Json<Value>) -> Self {
        Self { fingerprint, outcome }
    }

    /// The outcome, for a call that says the same as the first one.
    ///
    /// # Errors
    /// [`types::Failure::RequestIdReused`] when it says something else.
    pub(crate) fn outcome<T: DeserializeOwned>(self, call: &Call) -> Result<T> {
        let first = Fingerprint::from_bytes(self.fingerprint)
            .ok_or_else(|| Error::internal("the fingerprint of a saved request cannot be read"))?;
        call.require_same(&first)?;
        serde_json::from_value(self.outcome.0).map_err(Error::internal)
    }
}

impl Store {
    /// What is kept of the first call with a request id, once that has ended.
    pub(crate) async fn request_fetch(&self, key: &RequestKey) -> Result<Option<Saved>> {
        self.read().await?.row(fetch(key)).await
    }

    /// Keeps the outcome of a call that changed nothing else, such as a refusal; `false` when its request id has an
    /// outcome already.
    pub(crate) async fn request_insert(
        &self,
        call: &Call,
        outcome: &impl Serialize,
        keep: Keep,
    ) -> Result<bool> {
        let query = insert(call, outcome, keep)?;
        Ok(self.read().await?.execute(query).await? == 1)
    }

    /// Deletes at most `limit` outcomes whose time is over; tells how many.
    pub(crate) async fn requests_prune(&self, limit: i64) -> Result<u64> {
        let query = sqlx::query(REQUESTS_PRUNE).bind(limit);
        self.read().await?.execute(query).await
    }
}

impl Tx {
    /// As [`Store::request_fetch`]. Of calls that lock the same row, do it after the lock.
    pub(crate) async fn request_fetch(&mut self, key: &RequestKey) -> Result<Option<Saved>> {
        self.row(fetch(key)).await
    }

    /// Keeps the outcome of this transaction's call. `false` when another transaction has done so under the same
    /// request id, for which this waits: roll back, and answer with what that one kept.
    pub(crate) async fn request_insert(
        &mut self,
        call: &Call,
        outcome: &impl Serialize,
        keep: Keep,
    ) -> Result<bool> {
        Ok(self.execute(insert(call, outcome, keep)?).await? == 1)
    }
}

fn fetch(key: &RequestKey) -> Query<'_, Postgres, PgArguments> {
    sqlx::query(REQUEST_FETCH).bind(key.request_id).bind(&key.principal).bind(key.method)
}

/// Inserts nothing when the id has an outcome, for which it waits if another transaction is about to give it one.
fn insert<'q>(
    Call { key, fingerprint }: &'q Call,
    outcome: &impl Serialize,
    keep: Keep,
) -> Result<Query<'q, Postgres, PgArguments>> {
    let outcome = serde_json::to_value(outcome).map_err(Error::internal)?;
    let query = sqlx::query(REQUEST_INSERT);
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
        let call = |method| Call {
            key: RequestKey { principal: "ann".to_owned(), method, request_id: Uuid::now_v7() },
            fingerprint: Fingerprint::new([1; 32], &[]),
        };
        let (young, old, order) = (call("young"), call("old"), call("order"));
        for (call, keep) in [(&young, Keep::ThirtyDays), (&old, Keep::ThirtyDays), (&order, Keep::Forever)] {
            assert!(store.request_insert(call, &"first", keep).await.unwrap());
            assert!(!store.request_insert(call, &"second", keep).await.unwrap());
        }
        let mut tx = store.begin().await.unwrap();
        let age = "UPDATE request SET keep_until = keep_until - interval '30 days' WHERE method <> 'young'";
        tx.execute(sqlx::query(age)).await.unwrap();
        tx.commit_now().await.unwrap();
        assert_eq!(store.requests_prune(10).await.unwrap(), 1);
        assert!(store.request_fetch(&old.key).await.unwrap().is_none());
        for call in [&young, &order] {
            let saved = store.request_fetch(&call.key).await.unwrap().unwrap();
            assert_eq!(saved.outcome::<String>(call).unwrap(), "first");
        }
    }
}
