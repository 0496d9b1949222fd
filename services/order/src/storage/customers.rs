//! The read model of users.

use time::OffsetDateTime;
use types::{Role, UserId};
use uuid::Uuid;

use super::statement::statements;
use super::{Store, Tx};
use crate::domain::Customer;
use crate::error::{Error, Result};

statements! {
    CUSTOMERS_FETCH =
        "SELECT user_id, state, role, version FROM customers WHERE user_id = ANY ($1)";

    CUSTOMERS_WRITE =
        "INSERT INTO customers AS known (user_id, state, role, version)
         SELECT user_id, state, role, version
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[]) AS told (user_id, state, role, version)
         ON CONFLICT (user_id) DO UPDATE
         SET state = excluded.state, role = excluded.role, version = excluded.version,
             updated_at = clock_timestamp()
         WHERE $5 OR known.version < excluded.version";

    CUSTOMERS_REMOVE_UNTOUCHED = "DELETE FROM customers WHERE updated_at < $1";
}

#[derive(sqlx::FromRow)]
struct Row {
    user_id: Uuid,
    state: String,
    role: String,
    version: i64,
}

impl TryFrom<Row> for Customer {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let role: Role = row.role.parse().map_err(|error: String| Error::internal(error))?;
        let state = row.state.parse().map_err(|error: String| Error::internal(error))?;
        Ok(Self { user_id: UserId::from_uuid(row.user_id), state, role, version: row.version })
    }
}

impl Store {
    /// A user, if the read model has it.
    pub(crate) async fn customer_fetch(&self, user_id: UserId) -> Result<Option<Customer>> {
        let query = sqlx::query(CUSTOMERS_FETCH).bind([user_id.uuid()]);
        let row: Option<Row> = self.read().await?.row(query).await?;
        row.map(Customer::try_from).transpose()
    }
}

impl Tx {
    /// As [`Store::customer_fetch`], for several users, in no order.
    pub(crate) async fn customers_fetch(&mut self, user_ids: &[UserId]) -> Result<Vec<Customer>> {
        let ids: Vec<_> = user_ids.iter().map(|id| id.uuid()).collect();
        let rows: Vec<Row> = self.rows(sqlx::query(CUSTOMERS_FETCH).bind(ids)).await?;
        rows.into_iter().map(Customer::try_from).collect()
    }

    /// Keeps the newer description of each user: the one with the higher version. Each user at most once.
    pub(crate) async fn customers_upsert(&mut self, customers: &[Customer]) -> Result<()> {
        self.customers_write(customers, false).await
    }

    /// Keeps these descriptions, whatever was known before. Each user at most once.
    pub(crate) async fn customers_replace(&mut self, customers: &[Customer]) -> Result<()> {
        self.customers_write(customers, true).await
    }

    async fn customers_write(&mut self, customers: &[Customer], is_replaced: bool) -> Result<()> {
        let mut customers: Vec<_> = customers.iter().collect();
        customers.sort_unstable_by_key(|customer| customer.user_id);
        let query = sqlx::query(CUSTOMERS_WRITE)
            .bind(customers.iter().map(|customer| customer.user_id.uuid()).collect::<Vec<_>>())
            .bind(customers.iter().map(|customer| customer.state.as_str()).collect::<Vec<_>>())
            .bind(customers.iter().map(|customer| customer.role.as_str()).collect::<Vec<_>>())
            .bind(customers.iter().map(|customer| customer.version).collect::<Vec<_>>())
            .bind(is_replaced);
        self.execute(query).await.map(drop)
    }

    /// Removes the users that were not written since a rebuild began: user service does not have them.
    pub(crate) async fn customers_remove_untouched(&mut self, since: OffsetDateTime) -> Result<()> {
        let query = sqlx::query(CUSTOMERS_REMOVE_UNTOUCHED).bind(since);
        self.execute(query).await.map(drop)
    }
}
