//! One cent that was put into a database past the services. `tristore audit` finds each of them, names it with its
//! amount, exits with 1, and does so again until the cent is mended.

use anyhow::{Context, Result, ensure};
use api::order::v1::Audit;
use bson::{Bson, Document, doc};
use sqlx::{Connection as _, PgConnection};
use testkit::MongoAdmin;
use tests::System;
use tests::people::{Market, PRICE, pay, refund};
use uuid::Uuid;

use super::{run, tristore};

/// Source, account, debits and credits in euros.
pub(super) type Line = (String, String, i64, i64);

/// What an audit says of the books.
pub(super) fn lines_of(audit: &Audit) -> Vec<Line> {
    let lines = audit.lines.iter().map(|line| {
        (line.source.clone(), line.account.clone(), line.debit_minor_units, line.credit_minor_units)
    });
    let mut lines: Vec<Line> = lines.collect();
    lines.sort();
    lines
}

/// Access to both databases past the services.
pub(super) struct Backdoor {
    mongo: MongoAdmin,
    database: String,
    sql: PgConnection,
}

impl Backdoor {
    pub(super) async fn open(system: &System) -> Result<Self> {
        let urls = system.stack.databases.urls_for_services().await?;
        let name = urls.mongodb.rsplit('/').next().unwrap_or_default();
        let database = name.split('?').next().unwrap_or_default().to_owned();
        let mongo = MongoAdmin::new(&urls.mongodb)?;
        let sql = PgConnection::connect(&urls.postgres).await.context("connecting to PostgreSQL")?;
        Ok(Self { mongo, database, sql })
    }

    /// The sums of both books, entry by entry.
    pub(super) async fn sums(&mut self) -> Result<Vec<Line>> {
        let query =
            "SELECT CASE account WHEN 'merchant' THEN 'accounts' ELSE account END, sum(debit)::bigint,
                            sum(credit)::bigint
                     FROM entries GROUP BY 1";
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(query).fetch_all(&mut self.sql).await?;
        let here = rows
            .into_iter()
            .map(|(account, debit, credit)| ("order-service".to_owned(), account, debit, credit));
        let mut lines: Vec<Line> = here.collect();
        let side = |name| doc! { "$sum": { "$cond": [{ "$eq": ["$_id.side", name] }, "$amount", 0_i64] } };
        let group = doc! { "_id": "$account", "debit": side("DEBIT"), "credit": side("CREDIT") };
        let sum = doc! { "aggregate": "entry", "pipeline": [{ "$group": group }], "cursor": {} };
        let answer = self.mongo.run(&self.database, sum).await?;
        for row in answer.get_document("cursor")?.get_array("firstBatch")? {
            let row = row.as_document().context("a document")?;
            let account = row.get_str("_id")?.to_owned();
            let sums = (row.get_i64("debit")?, row.get_i64("credit")?);
            lines.push(("user-service".to_owned(), account, sums.0, sums.1));
        }
        lines.sort();
        Ok(lines)
    }

    async fn write(&self, command: Document) -> Result<()> {
        let answer = self.mongo.run(&self.database, command).await?;
        ensure!(!answer.contains_key("writeErrors"), "{answer}");
        ensure!(answer.get_i32("n").is_ok_and(|hit| hit > 0), "nothing was hit: {answer}");
        Ok(())
    }

    async fn update(&self, collection: &str, filter: Document, change: Document) -> Result<()> {
        self.write(doc! { "update": collection, "updates": [{ "q": filter, "u": change }] }).await
    }

    /// Takes documents out, and gives what puts them back.
    async fn take(&self, collection: &str, filter: Document) -> Result<Document> {
        let find = doc! { "find": collection, "filter": filter.clone() };
        let found = self.mongo.run(&self.database, find).await?;
        let rows = found.get_document("cursor")?.get_array("firstBatch")?.clone();
        let delete = doc! { "delete": collection, "deletes": [{ "q": filter, "limit": 0 }] };
        self.write(delete).await?;
        Ok(doc! { "insert": collection, "documents": rows })
    }

    /// Changes the balance that an account shows.
    pub(super) async fn add_to_account(&mut self, owner: &str, cents: i64) -> Result<()> {
        self.plain(&format!("UPDATE accounts SET balance = balance + {cents} WHERE owner_id = '{owner}'"))
            .await
    }

    /// Changes what the database itself protects.
    async fn sql(&mut self, statement: &str) -> Result<()> {
        let tables = ["entries", "postings", "holds"];
        for table in tables {
            self.plain(&format!("ALTER TABLE {table} DISABLE TRIGGER USER")).await?;
        }
        self.plain(statement).await?;
        for table in tables {
            self.plain(&format!("ALTER TABLE {table} ENABLE TRIGGER USER")).await?;
        }
        Ok(())
    }

    async fn plain(&mut self, statement: &str) -> Result<()> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut self.sql).await?;
        Ok(())
    }
}

fn uuid(id: &str) -> Result<Bson> {
    Ok(bson::Uuid::from(Uuid::parse_str(id)?).into())
}

/// The audit names this with a difference of so many cents, and ends with 1.
async fn drifts(system: &System, full: bool, source: &str, subject: &str, cents: i64) -> Result<()> {
    let sign = if cents < 0 { '-' } else { '+' };
    let difference = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
    let arguments: &[&str] = if full { &["--full"] } else { &[] };
    let (code, printed) = tristore(system, arguments).await?;
    assert_eq!(code, 1, "{source} {subject} {difference}:\n{printed}");
    let is_it = |line: &str| {
        line.starts_with(&format!("{source}: {subject}: ")) && line.ends_with(&format!("({difference} EUR)"))
    };
    assert!(printed.lines().any(is_it), "nothing names {source} {subject} {difference}:\n{printed}");
    Ok(())
}

/// What was mended is found no more.
async fn conserved(system: &System) -> Result<()> {
    let (code, printed) = tristore(system, &[]).await?;
    assert_eq!(code, 0, "{printed}");
    Ok(())
}

/// A payment that no audit has seen yet: the transfer's id.
async fn payment(market: &Market) -> Result<String> {
    let order = market.order(1).await?;
    let paid = market.buyer.caller.transfers().pay_order(pay(&order)).await.context("PayOrder")?;
    Ok(paid.into_inner().transfer.context("a transfer")?.id)
}

pub(super) async fn each_is_found(system: &System, market: &Market) -> Result<()> {
    let mut backdoor = Backdoor::open(system).await?;
    balances(system, market, &mut backdoor).await?;
    set_aside(system, market, &mut backdoor).await?;
    new_entries(system, market, &mut backdoor).await?;
    what_cancels_out(system, market, &mut backdoor).await?;
    old_entries(system, market, &mut backdoor).await?;
    removed_postings(system, market, &mut backdoor).await?;
    broken_chains(system, market, &mut backdoor).await?;
    let errors = system.stack.services.order.log().errors_since(testkit::LogMark::default());
    assert!(errors.iter().any(|line| line.contains("audit") && line.contains("drift")), "{errors:?}");
    Ok(())
}

/// A balance without an entry: the next audit sees it, whichever wallet or account it is.
async fn balances(system: &System, market: &Market, backdoor: &mut Backdoor) -> Result<()> {
    let (buyer, seller) = (&market.buyer.user_id, &market.seller.user_id);
    let wallet = doc! { "_id": { "owner": uuid(buyer)?, "currency": "EUR" } };
    let more = |cents: i64| doc! { "$inc": { "balance": cents, "available": cents, "reach": cents } };
    backdoor.update("wallet", wallet.clone(), more(1)).await?;
    for _ in 0..2 {
        drifts(system, false, "user-service", &format!("wallet {buyer} EUR"), 1).await?;
    }
    drifts(system, true, "user-service", &format!("wallet {buyer} EUR"), 1).await?;
    assert!(!run(system, false).await?.full, "every audit sees it");
    backdoor.update("wallet", wallet, more(-1)).await?;
    conserved(system).await?;

    backdoor.add_to_account(seller, -1).await?;
    drifts(system, false, "order-service", &format!("account {seller} EUR"), -1).await?;
    backdoor.add_to_account(seller, 1).await?;
    conserved(system).await
}

/// What is set aside for refunds, and what an order shows of them. Every kind of it is in order service's own tests.
async fn set_aside(system: &System, market: &Market, backdoor: &mut Backdoor) -> Result<()> {
    let seller = &market.seller.user_id;
    let held = |cents| format!("UPDATE accounts SET held = held + {cents} WHERE owner_id = '{seller}'");
    backdoor.plain(&held(1)).await?;
    drifts(system, false, "order-service", &format!("account {seller} EUR"), 1).await?;
    backdoor.plain(&held(-1)).await?;
    conserved(system).await?;

    let order = market.paid_order(1).await?;
    let back =
        market.seller.caller.transfers().refund_order(refund(&order, 5)).await.context("RefundOrder")?;
    let transfer = back.into_inner().transfer.context("a transfer")?.id;
    conserved(system).await?;
    let pending = |cents| {
        let column = "refund_pending_minor_units";
        format!("UPDATE orders SET {column} = {column} + {cents} WHERE id = '{}'", order.id)
    };
    backdoor.plain(&pending(1)).await?;
    drifts(system, true, "order-service", &format!("order {}", order.id), 1).await?;
    backdoor.plain(&pending(-1)).await?;
    conserved(system).await?;

    let hold = |state| format!("UPDATE holds SET state = '{state}' WHERE transfer_id = '{transfer}'");
    backdoor.sql(&hold("cancelled")).await?;
    let (code, printed) = tristore(system, &["--full"]).await?;
    assert_eq!(code, 1, "{printed}");
    let named =
        format!("order-service: transfer {transfer}: the account's hold is Cancelled and confirm is decided");
    assert!(printed.lines().any(|line| line == named), "{printed}");
    backdoor.sql(&hold("posted")).await?;
    conserved(system).await
}

fn wallet_entry(transfer: &str) -> Result<Document> {
    Ok(doc! { "_id": { "posting": uuid(transfer)?, "side": "DEBIT" } })
}

/// An entry that is wrong before any audit has seen it: the next one does.
async fn new_entries(system: &System, market: &Market, backdoor: &mut Backdoor) -> Result<()> {
    let transfer = payment(market).await?;
    let subject = format!("transfer {transfer}");
    let more = |cents: i64| doc! { "$inc": { "amount": cents } };
    backdoor.update("entry", wallet_entry(&transfer)?, more(1)).await?;
    drifts(system, false, "user-service", &subject, -1).await?;
    drifts(system, false, "order-service", &subject, -1).await?;
    backdoor.update("entry", wallet_entry(&transfer)?, more(-1)).await?;
    conserved(system).await?;

    let transfer = payment(market).await?;
    let subject = format!("transfer {transfer}");
    let change = |cents| {
        format!(
            "UPDATE entries SET credit = credit + {cents} WHERE transfer_id = '{transfer}' AND credit > 0"
        )
    };
    backdoor.sql(&change(1)).await?;
    drifts(system, false, "order-service", &subject, 1).await?;
    drifts(system, false, "user-service", &subject, 1).await?;
    backdoor.sql(&change(-1)).await?;
    conserved(system).await
}

/// Two wrong cents that cancel out: every sum is right, so that no trial balance sees them.
async fn what_cancels_out(system: &System, market: &Market, backdoor: &mut Backdoor) -> Result<()> {
    let transfers = [payment(market).await?, payment(market).await?];
    let change = |transfer: &str, cents| {
        format!(
            "UPDATE entries SET credit = credit + CASE WHEN credit > 0 THEN {cents} ELSE 0 END,
                                debit = debit + CASE WHEN debit > 0 THEN {cents} ELSE 0 END
             WHERE transfer_id = '{transfer}'"
        )
    };
    for (transfer, cents) in transfers.iter().zip([1, -1]) {
        backdoor.sql(&change(transfer, cents)).await?;
    }
    system.books_balance().await.context("the sums are right")?;
    drifts(system, false, "order-service", &format!("transfer {}", transfers[0]), 1).await?;
    drifts(system, false, "order-service", &format!("transfer {}", transfers[1]), -1).await?;
    for (transfer, cents) in transfers.iter().zip([-1, 1]) {
        backdoor.sql(&change(transfer, cents)).await?;
    }
    conserved(system).await
}

/// An entry that was right when it was audited and was changed later: a full audit sees it, and from then on every
/// audit does, until it is mended.
async fn old_entries(system: &System, market: &Market, backdoor: &mut Backdoor) -> Result<()> {
    let transfer = payment(market).await?;
    let subject = format!("transfer {transfer}");
    conserved(system).await?;
    let more = |cents: i64| doc! { "$inc": { "amount": cents } };
    backdoor.update("entry", wallet_entry(&transfer)?, more(1)).await?;
    assert!(run(system, false).await?.findings.is_empty(), "it was audited and is not read again");
    drifts(system, true, "user-service", &subject, -1).await?;
    drifts(system, false, "user-service", &subject, -1).await?;
    backdoor.update("entry", wallet_entry(&transfer)?, more(-1)).await?;
    conserved(system).await?;
    assert!(!run(system, false).await?.full, "nothing is wrong any more");

    let change = |cents| {
        format!(
            "UPDATE entries SET credit = credit + {cents} WHERE transfer_id = '{transfer}' AND credit > 0"
        )
    };
    backdoor.sql(&change(1)).await?;
    drifts(system, true, "order-service", &subject, 1).await?;
    backdoor.sql(&change(-1)).await?;
    conserved(system).await
}

/// A posting that is gone with all its entries.
async fn removed_postings(system: &System, market: &Market, backdoor: &mut Backdoor) -> Result<()> {
    let (transfer, price) = (payment(market).await?, PRICE);
    let subject = format!("transfer {transfer}");
    conserved(system).await?;
    let entries = backdoor.take("entry", doc! { "_id.posting": uuid(&transfer)? }).await?;
    let posting = backdoor.take("posting", doc! { "_id": uuid(&transfer)? }).await?;
    drifts(system, true, "order-service", &subject, price).await?;
    let buyer = format!("wallet {} EUR", market.buyer.user_id);
    drifts(system, true, "user-service", &buyer, -price).await?;
    backdoor.write(posting).await?;
    backdoor.write(entries).await?;
    conserved(system).await?;

    for table in ["entries", "postings"] {
        let of = format!("{table} WHERE transfer_id = '{transfer}'");
        backdoor.plain(&format!("CREATE TEMP TABLE kept_{table} AS SELECT * FROM {of}")).await?;
        backdoor.sql(&format!("DELETE FROM {of}")).await?;
    }
    drifts(system, true, "order-service", &subject, -price).await?;
    drifts(system, true, "user-service", &subject, -price).await?;
    for table in ["postings", "entries"] {
        backdoor.sql(&format!("INSERT INTO {table} SELECT * FROM kept_{table}")).await?;
    }
    conserved(system).await
}

/// A chain that breaks without any amount being wrong.
async fn broken_chains(system: &System, market: &Market, backdoor: &mut Backdoor) -> Result<()> {
    let transfer = payment(market).await?;
    let find = doc! { "find": "entry", "filter": wallet_entry(&transfer)? };
    let found = backdoor.mongo.run(&backdoor.database, find).await?;
    let rows = found.get_document("cursor")?.get_array("firstBatch")?;
    let hash = rows[0].as_document().context("a document")?.get("hash").context("a hash")?.clone();
    let zeros = bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![0; 32] };
    backdoor.update("entry", wallet_entry(&transfer)?, doc! { "$set": { "hash": zeros } }).await?;
    let (code, printed) = tristore(system, &[]).await?;
    assert_eq!(code, 1, "{printed}");
    let named = format!("user-service: wallet {} EUR: entry ", market.buyer.user_id);
    let broken = format!("({transfer}): its hash is not that of its content and the one before");
    assert!(printed.lines().any(|line| line.starts_with(&named) && line.ends_with(&broken)), "{printed}");
    backdoor.update("entry", wallet_entry(&transfer)?, doc! { "$set": { "hash": hash } }).await?;
    conserved(system).await
}
