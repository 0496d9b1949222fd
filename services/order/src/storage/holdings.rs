//! What keeps a user from being deleted: orders, accounts and transfers in one statement, so at one moment.

use types::{Currency, Money, UserId};

use super::Store;
use super::statement::statements;
use crate::domain::Holdings;
use crate::error::{Error, Result};

/// Nobody has to know how many more there are.
const COUNTED_MOST: i64 = 1000;

macro_rules! open_orders {
    ($of:literal) => {
        concat!(
            "(SELECT count(*) FROM (SELECT FROM orders WHERE ",
            $of,
            " = $1 AND state <> 'cancelled' AND (state <> 'paid' OR refunded_minor_units < paid_minor_units)
              LIMIT $2) AS open)"
        )
    };
}

statements! {
    // What runs is what is looked after, which is little of all that ever was.
    HOLDINGS_FETCH =
        concat!(
            "SELECT ",
            open_orders!("customer_id"),
            " AS bought, ",
            open_orders!("seller_id"),
            " AS sold,
             (SELECT count(*) FROM (SELECT FROM transfers WHERE next_attempt_at IS NOT NULL
                                    AND (wallet_user_id = $1 OR account_owner_id = $1) LIMIT $2) AS running)
                 AS running_transfers,
             ARRAY(SELECT currency FROM accounts WHERE owner_id = $1 AND balance > 0 ORDER BY currency)
                 AS currencies,
             ARRAY(SELECT balance FROM accounts WHERE owner_id = $1 AND balance > 0 ORDER BY currency)
                 AS balances"
        );
}

#[derive(sqlx::FromRow)]
struct Row {
    bought: i64,
    sold: i64,
    running_transfers: i64,
    currencies: Vec<String>,
    balances: Vec<i64>,
}

impl TryFrom<Row> for Holdings {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let balance = |(currency, balance): (String, i64)| {
            let currency: Currency = currency.parse().map_err(Error::internal)?;
            Ok(Money::new(currency, balance))
        };
        Ok(Self {
            bought: row.bought,
            sold: row.sold,
            running_transfers: row.running_transfers,
            balances: row.currencies.into_iter().zip(row.balances).map(balance).collect::<Result<_>>()?,
        })
    }
}

impl Store {
    /// What a user has.
    pub(crate) async fn holdings_fetch(&self, user_id: UserId) -> Result<Holdings> {
        let query = sqlx::query(HOLDINGS_FETCH).bind(user_id.uuid()).bind(COUNTED_MOST);
        let row: Option<Row> = self.read().await?.row(query).await?;
        row.ok_or_else(|| Error::internal("sums without a row"))?.try_into()
    }
}
