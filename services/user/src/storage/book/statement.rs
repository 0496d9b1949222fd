//! Statements of account. The times of a wallet's entries never go back, so a range of time is a piece of its chain, from
//! one sequence to another: entries of all kinds are in it or not by that, and the balances at its ends are those that
//! the chain states. Each end is one read of one key.
//!
//! Entries that a release before this one made may be some milliseconds out of order, where the clocks of replicas
//! differed. A range is a piece of the chain there too, and its balances are those of the piece.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use futures_util::future::try_join;
use mongodb::options::Hint;
use serde::Deserialize;
use time::OffsetDateTime;

use super::ledger::{CHAINS, ENTRIES, EntryRow};
use super::wallets::wallet_id;
use crate::domain::ledger::{Kind, Place, WalletEntry};
use crate::domain::wallet::WalletKey;
use crate::error::Result;
use crate::storage::{SERVER_TIME, Store, bounded, from_time};

/// The index of the entries of each kind.
const KINDS: &str = "kind";
/// The index of the entries by time.
const TIMES: &str = "time";

#[derive(Debug, Deserialize)]
struct PlaceRow {
    sequence: i64,
    balance_after: i64,
}

/// A find, as far as an index has to serve it.
#[derive(Debug)]
struct Find {
    filter: Document,
    sort: Document,
    index: &'static str,
}

impl Find {
    /// The newest entry of all, or before a time.
    fn newest(key: WalletKey, before: Option<OffsetDateTime>) -> Self {
        let mut filter = wallet_id(key);
        filter.insert("sequence", doc! { "$gt": 0_i64 });
        let Some(time) = before else {
            return Self { filter, sort: doc! { "sequence": -1 }, index: CHAINS };
        };
        filter.insert("created_at", doc! { "$lt": from_time(time) });
        Self { filter, sort: doc! { "created_at": -1, "sequence": -1 }, index: TIMES }
    }

    /// The entries of a piece of the chain: above one sequence, below another.
    fn piece(key: WalletKey, kind: Option<Kind>, above: i64, below: i64) -> Self {
        let mut filter = wallet_id(key);
        filter.insert("sequence", doc! { "$gt": above, "$lt": below });
        if let Some(kind) = kind {
            filter.insert("kind", kind.as_str());
        }
        let index = if kind.is_some() { KINDS } else { CHAINS };
        Self { filter, sort: doc! { "sequence": -1 }, index }
    }
}

impl Store {
    /// Where a wallet's chain is at both ends of a time: behind the last entry before it, and behind its last entry.
    pub(crate) async fn wallet_span(
        &self,
        key: WalletKey,
        start: Option<OffsetDateTime>,
        end: Option<OffsetDateTime>,
    ) -> Result<[Place; 2]> {
        let opening = async {
            match start {
                None => Ok(Place::START),
                Some(_) => self.wallet_place(Find::newest(key, start)).await,
            }
        };
        let (opening, closing) = try_join(opening, self.wallet_place(Find::newest(key, end))).await?;
        Ok([opening, if closing.sequence < opening.sequence { opening } else { closing }])
    }

    async fn wallet_place(&self, Find { filter, sort, index }: Find) -> Result<Place> {
        let entries = self.collection::<PlaceRow>(ENTRIES);
        let find = entries.find_one(filter).sort(sort).hint(Hint::Name(index.to_owned()));
        let find = find.projection(doc! { "_id": 0, "sequence": 1, "balance_after": 1 });
        let row = bounded(find.max_time(SERVER_TIME)).await?;
        Ok(row.map_or(Place::START, |row| Place { sequence: row.sequence, balance: row.balance_after }))
    }

    /// At most `limit` entries of a wallet above a sequence and below another, newest first; of one kind, or of all.
    pub(crate) async fn wallet_entry_list(
        &self,
        key: WalletKey,
        kind: Option<Kind>,
        above: i64,
        below: i64,
        limit: i64,
    ) -> Result<Vec<WalletEntry>> {
        let Find { filter, sort, index } = Find::piece(key, kind, above, below);
        let entries = self.collection::<EntryRow>(ENTRIES);
        let find = entries.find(filter).sort(sort).limit(limit).hint(Hint::Name(index.to_owned()));
        let rows: Vec<EntryRow> = bounded(bounded(find.max_time(SERVER_TIME)).await?.try_collect()).await?;
        rows.into_iter().map(WalletEntry::try_from).collect()
    }
}

#[cfg(test)]
mod tests {
    use bson::Bson;
    use testkit::TestMongo;
    use types::UserId;
    use uuid::Uuid;

    use super::*;
    use crate::config::MongoConfig;
    use crate::storage::Shared;

    const ENTRIES_EACH: i64 = 600;
    const PAGE: i64 = 10;

    /// Three wallets with one entry a second, of two kinds in turn.
    async fn filled(mongo: &TestMongo) -> (Store, WalletKey) {
        let connect = async |url| Store::connect(&MongoConfig::for_tests(url), Shared::default()).await;
        connect(mongo.migrate_url()).await.unwrap().migrate().await.unwrap();
        let store = connect(mongo.url()).await.unwrap();
        let keys = [(1, "EUR"), (1, "USD"), (2, "EUR")].map(|(owner, code)| WalletKey {
            owner: UserId::from_uuid(Uuid::from_u128(owner)),
            currency: code.parse().unwrap(),
        });
        let rows = keys.iter().flat_map(|key| {
            (1..=ENTRIES_EACH).map(|sequence| {
                let kind = if sequence % 2 == 0 { Kind::Send } else { Kind::Grant };
                let mut row = doc! {
                    "_id": { "posting": bson::Uuid::new(), "side": if sequence % 2 == 0 { "DEBIT" } else { "CREDIT" } },
                    "account": "wallets",
                    "amount": 1_i64,
                    "created_at": from_time(second(sequence)),
                    "sequence": sequence,
                    "kind": kind.as_str(),
                    "balance_after": sequence % 2,
                    "hash": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![0; 32] },
                };
                row.extend(wallet_id(*key));
                row
            })
        });
        store.collection::<Document>(ENTRIES).insert_many(rows.collect::<Vec<_>>()).await.unwrap();
        (store, keys[0])
    }

    fn second(second: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second)
    }

    /// What a statement costs: keys and documents that are looked at.
    async fn cost(store: &Store, find: Find, limit: i64) -> (i64, i64) {
        let command = doc! {
            "find": ENTRIES, "filter": find.filter, "sort": find.sort, "limit": limit, "hint": find.index,
        };
        let explain = doc! { "explain": command, "verbosity": "executionStats" };
        let answer = store.database().run_command(explain).await.unwrap();
        let plan =
            answer.get_document("queryPlanner").unwrap().get_document("winningPlan").unwrap().to_string();
        assert!(
            plan.contains("IXSCAN") && plan.contains(&format!("\"indexName\": \"{}\"", find.index)),
            "{plan}"
        );
        assert!(!plan.contains("COLLSCAN") && !plan.contains("\"SORT\""), "{plan}");
        let stats = answer.get_document("executionStats").unwrap();
        let number = |field| match stats.get(field) {
            Some(Bson::Int32(number)) => i64::from(*number),
            Some(Bson::Int64(number)) => *number,
            other => panic!("{field}: {other:?}"),
        };
        assert_eq!(number("nReturned"), limit);
        (number("totalKeysExamined"), number("totalDocsExamined"))
    }

    /// Whatever is asked for of however long a book: no more than is answered, and a key beside it.
    #[tokio::test]
    async fn a_statement_reads_what_it_shows() {
        let mongo = TestMongo::create().await.unwrap();
        let (store, key) = filled(&mongo).await;
        let middle = Some(second(ENTRIES_EACH / 2));
        let (above, below) = (ENTRIES_EACH / 4, ENTRIES_EACH / 2);
        for (find, limit) in [
            (Find::newest(key, None), 1),
            (Find::newest(key, middle), 1),
            (Find::piece(key, None, above, below), PAGE),
            (Find::piece(key, Some(Kind::Send), above, below), PAGE),
        ] {
            let asked = format!("{find:?}");
            let (keys, documents) = cost(&store, find, limit).await;
            assert!(
                keys <= limit + 1 && documents <= limit + 1,
                "{keys} keys, {documents} documents: {asked}"
            );
        }
    }

    #[tokio::test]
    async fn the_ends_of_a_time_are_places_in_the_chain() {
        let mongo = TestMongo::create().await.unwrap();
        let (store, key) = filled(&mongo).await;
        let span = async |start: Option<i64>, end: Option<i64>| {
            let [opening, closing] =
                store.wallet_span(key, start.map(second), end.map(second)).await.unwrap();
            (opening.sequence, closing.sequence)
        };
        assert_eq!(span(None, None).await, (0, ENTRIES_EACH));
        assert_eq!(span(Some(1), Some(2)).await, (0, 1));
        assert_eq!(span(Some(5), Some(9)).await, (4, 8));
        assert_eq!(span(Some(-5), Some(0)).await, (0, 0));
        assert_eq!(span(Some(ENTRIES_EACH + 1), None).await, (ENTRIES_EACH, ENTRIES_EACH));
    }
}
