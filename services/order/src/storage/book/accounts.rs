//! Merchants' accounts: locked in the order of their keys, changed in memory by `domain::account`, written back.

use std::collections::BTreeSet;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::account::{Account, AccountKey};
use crate::error::{Error, Result};
use crate::storage::statement::statements;
use crate::storage::{Store, Tx};

#[derive(Debug, FromRow)]
struct Row {
    owner_id: Uuid,
    currency: String,
    balance: i64,
    held: i64,
    incoming: i64,
    sequence: i64,
    last_hash: Vec<u8>,
    updated_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for Account {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let currency = row.currency.parse().map_err(Error::internal)?;
        Ok(Self {
            key: AccountKey { owner_id: row.owner_id.into(), currency },
            balance: row.balance,
            held: row.held,
            incoming: row.incoming,
            sequence: row.sequence,
            last_hash: row.last_hash.try_into().map_err(|_| Error::internal("a hash has not 32 bytes"))?,
            updated_at: row.updated_at,
        })
    }
}

macro_rules! columns {
    () => {
        "owner_id, currency, balance, held, incoming, sequence, last_hash, updated_at"
    };
}

statements! {
    ACCOUNT_FETCH =
        concat!(
            "SELECT ",
            columns!(),
            " FROM accounts WHERE owner_id = $1 AND currency = $2"
        );

    ACCOUNTS_LOCK_EXISTING =
        concat!(
            "SELECT ",
            columns!(),
            " FROM accounts
              WHERE (owner_id, currency) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
              ORDER BY owner_id, currency FOR UPDATE"
        );

    ACCOUNTS_MAKE =
        "INSERT INTO accounts (owner_id, currency)
         SELECT owner_id, currency FROM unnest($1::uuid[], $2::text[]) AS new (owner_id, currency)
         ORDER BY owner_id, currency ON CONFLICT DO NOTHING";

    ACCOUNTS_WRITE =
        "UPDATE accounts
         SET balance = new.balance, held = new.held, incoming = new.incoming, sequence = new.sequence,
             last_hash = new.last_hash, updated_at = new.updated_at
         FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                     $7::bytea[], $8::timestamptz[])
              AS new (owner_id, currency, balance, held, incoming, sequence, last_hash, updated_at)
         WHERE accounts.owner_id = new.owner_id AND accounts.currency = new.currency";
}

impl Store {
    /// An account; `None` for one that nothing ever touched.
    pub(crate) async fn account_fetch(&self, key: AccountKey) -> Result<Option<Account>> {
        let query = sqlx::query(ACCOUNT_FETCH).bind(key.owner_id.uuid()).bind(key.currency.code());
        let row: Option<Row> = self.read().await?.row(query).await?;
        row.map(Account::try_from).transpose()
    }
}

impl Tx {
    /// Locks accounts, in the order of their keys. Rows that are missing are made.
    pub(crate) async fn accounts_lock(&mut self, keys: &BTreeSet<AccountKey>) -> Result<Vec<Account>> {
        let mut accounts = self.accounts_lock_existing(keys).await?;
        if accounts.len() < keys.len() {
            let found: BTreeSet<AccountKey> = accounts.iter().map(|account| account.key).collect();
            let missing: BTreeSet<AccountKey> = keys.difference(&found).copied().collect();
            self.accounts_make(&missing.iter().copied().collect::<Vec<_>>()).await?;
            accounts.extend(self.accounts_lock_existing(&missing).await?);
        }
        Ok(accounts)
    }

    async fn accounts_lock_existing(&mut self, keys: &BTreeSet<AccountKey>) -> Result<Vec<Account>> {
        let query = sqlx::query(ACCOUNTS_LOCK_EXISTING)
            .bind(keys.iter().map(|key| key.owner_id.uuid()).collect::<Vec<_>>())
            .bind(keys.iter().map(|key| key.currency.code().to_owned()).collect::<Vec<_>>());
        let rows: Vec<Row> = self.rows(query).await?;
        rows.into_iter().map(Account::try_from).collect()
    }

    async fn accounts_make(&mut self, keys: &[AccountKey]) -> Result<()> {
        let query = sqlx::query(ACCOUNTS_MAKE)
            .bind(keys.iter().map(|key| key.owner_id.uuid()).collect::<Vec<_>>())
            .bind(keys.iter().map(|key| key.currency.code().to_owned()).collect::<Vec<_>>());
        self.execute(query).await?;
        Ok(())
    }

    /// Writes accounts that this transaction has locked.
    pub(crate) async fn accounts_update(&mut self, accounts: &[&Account]) -> Result<()> {
        fn each<T>(accounts: &[&Account], column: impl Fn(&Account) -> T) -> Vec<T> {
            accounts.iter().map(|account| column(account)).collect()
        }
        let query = sqlx::query(ACCOUNTS_WRITE)
            .bind(each(accounts, |account| account.key.owner_id.uuid()))
            .bind(each(accounts, |account| account.key.currency.code().to_owned()))
            .bind(each(accounts, |account| account.balance))
            .bind(each(accounts, |account| account.held))
            .bind(each(accounts, |account| account.incoming))
            .bind(each(accounts, |account| account.sequence))
            .bind(each(accounts, |account| account.last_hash.to_vec()))
            .bind(each(accounts, |account| account.updated_at));
        let changed = self.execute(query).await?;
        if changed == accounts.len() as u64 {
            Ok(())
        } else {
            Err(Error::internal("a locked account is gone"))
        }
    }
}
