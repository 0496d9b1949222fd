//! Both books straight from the databases: a command line for psql and one for mongosh, which work in a shell as they
//! are printed, and a reader for their tables.
//!
//! psql logs in as a role that can only read. Its password is in a file, since everybody on the machine can read
//! command lines.

use anyhow::Result;
use api::conservation::{Book, Books};
use testkit::{Mongo, Postgres, Stack, State};

const READER: &str = "reader";

/// The command lines.
#[derive(Debug)]
pub(crate) struct BookLines {
    /// Shows order service's book, with psql.
    pub(crate) order: String,
    /// Shows user service's book, with mongosh.
    pub(crate) user: String,
}

impl BookLines {
    /// The command lines for a running system. Makes the role that reads.
    pub(crate) async fn of(stack: &Stack) -> Result<Self> {
        let databases = &stack.databases;
        let order = psql(&databases.postgres, databases.state()).await?;
        Ok(Self { order, user: mongosh(&databases.mongo) })
    }
}

async fn psql(server: &Postgres, state: &State) -> Result<String> {
    let (password, port) = (state.secret("postgres-reader")?, server.port());
    server.admin().ensure_reader(READER, &password).await?;
    let file = state.keep_secret("pgpass", &format!("127.0.0.1:{port}:*:{READER}:{password}\n"))?;
    let entries = "SELECT currency, CASE account WHEN 'merchant' THEN 'accounts' ELSE account END AS account, \
                   sum(debit) AS debits, sum(credit) AS credits FROM entries GROUP BY 1, 2 ORDER BY 1, 2";
    let balances =
        "SELECT currency, sum(balance) AS balances, sum(held) AS held FROM accounts GROUP BY 1 ORDER BY 1";
    Ok(format!(
        r#"PGPASSFILE={} psql -h 127.0.0.1 -p {port} -U {READER} -d order_service -c "{entries}" -c "{balances}""#,
        file.display()
    ))
}

fn mongosh(server: &Mongo) -> String {
    let side =
        |side: &str| format!(r#"{{$sum: {{$cond: [{{$eq: ["$_id.side", "{side}"]}}, "$amount", 0]}}}}"#);
    let entries = format!(
        r#"console.table(db.entry.aggregate([{{$group: {{_id: {{currency: "$currency", account: "$account"}}, debits: {}, credits: {}}}}}, {{$sort: {{_id: 1}}}}]).toArray().map(b => ({{...b._id, debits: +b.debits, credits: +b.credits}})))"#,
        side("DEBIT"),
        side("CREDIT")
    );
    let balances = r#"console.table(db.wallet.aggregate([{$group: {_id: "$_id.currency", balances: {$sum: "$balance"}, held: {$sum: "$held"}}}, {$sort: {_id: 1}}]).toArray().map(b => ({currency: b._id, balances: +b.balances, held: +b.held})))"#;
    format!("mongosh --quiet '{}' --eval '{entries}; {balances}'", server.url("user_service"))
}

/// The rows of printed tables, each with one space between its cells.
pub(crate) fn rows(printed: &str) -> Vec<String> {
    let is_frame = |c: char| c.is_whitespace() || "|│'".contains(c);
    let rows = printed.lines().map(|line| line.split(is_frame).filter(|cell| !cell.is_empty()).collect());
    // mongosh numbers its rows.
    let rows = rows.map(|cells: Vec<_>| match cells.as_slice() {
        [number, rest @ ..] if number.parse::<u32>().is_ok() => rest.to_vec(),
        _ => cells,
    });
    let is_currency = |cell: &&str| cell.len() == 3 && cell.chars().all(|c| c.is_ascii_uppercase());
    rows.filter(|cells| cells.first().is_some_and(is_currency)).map(|cells| cells.join(" ")).collect()
}

/// The rows that a book's command line must print when the services report `books`.
pub(crate) fn rows_of(books: &Books, book: Book) -> Vec<String> {
    let lines: Vec<_> = books.lines.iter().filter(|line| line.book == book).collect();
    let entries =
        lines.iter().map(|line| format!("{} {} {} {}", line.currency, line.account, line.debit, line.credit));
    let owners = lines.iter().filter(|line| line.has_owners());
    let balances = owners.map(|line| format!("{} {} {}", line.currency, line.balance, line.held));
    entries.chain(balances).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_psql_and_mongosh_read_the_same() {
        let psql = " currency | account  | debits | credits \n----------+----------+--------+---------\n EUR      | \
                    accounts |    100 |    2500\n(1 row)\n";
        let mongosh = "┌─────────┬──────────┬────────────┬────────┬─────────┐\n\
                       │ (index) │ currency │ account    │ debits │ credits │\n\
                       │ 0       │ 'EUR'    │ 'accounts' │ 100    │ 2500    │\n";
        assert_eq!(rows(psql), ["EUR accounts 100 2500"]);
        assert_eq!(rows(mongosh), rows(psql));
    }
}
