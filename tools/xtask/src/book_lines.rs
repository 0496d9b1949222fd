//! Both books straight from the databases: a command line for psql and one for mongosh, which work in a shell as they
//! are printed, and a reader for their tables.
//!
//! Both log in as somebody who can only read. The passwords are in files, since everybody on the machine can read command
//! lines.

use anyhow::Result;
use api::conservation::{Book, Books, Line};
use testkit::{Databases, Postgres, Stack, State, quote};
use types::{Currency, Decimal};

const READER: &str = "reader";
/// Before a program in a printed line: nothing that is set in somebody's shell leads it elsewhere.
pub(crate) const ALONE: &str = r#"env -i PATH="$PATH" LC_ALL=C.UTF-8"#;

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
        Ok(Self { order, user: mongosh(databases).await? })
    }
}

async fn psql(server: &Postgres, state: &State) -> Result<String> {
    let (password, port) = (state.secret("postgres-reader")?, server.port());
    server.admin().ensure_reader(READER, &password).await?;
    let file = state.keep_secret("pgpass", &format!("127.0.0.1:{port}:*:{READER}:{password}\n"))?;
    let [none, three] = [0, 3].map(with_digits);
    let digits = format!(
        "LATERAL (SELECT CASE WHEN '{none}' ~ currency THEN 0 WHEN '{three}' ~ currency THEN 3 ELSE 2 END AS n) AS digits"
    );
    let shown = |column: &str| format!("round(sum({column}) / 10::numeric ^ n, n)");
    let entries = format!(
        "SELECT currency, CASE account WHEN 'merchant' THEN 'accounts' ELSE account END AS account, {} AS debits, \
         {} AS credits FROM entries, {digits} GROUP BY 1, 2, n ORDER BY 1, 2",
        shown("debit"),
        shown("credit")
    );
    let balances = format!(
        "SELECT currency, {} AS balances, {} AS held FROM accounts, {digits} GROUP BY 1, n ORDER BY 1",
        shown("balance"),
        shown("held")
    );
    let file = quote::shell(&file.to_string_lossy());
    Ok(format!(
        r#"{ALONE} PGPASSFILE={file} psql -X -w -h 127.0.0.1 -p {port} -U {READER} -d order_service -c "{entries}" -c "{balances}""#
    ))
}

async fn mongosh(databases: &Databases) -> Result<String> {
    let side =
        |side: &str| format!(r#"{{$sum: {{$cond: [{{$eq: ["$_id.side", "{side}"]}}, "$amount", 0]}}}}"#);
    let entries = format!(
        r#"console.table(db.entry.aggregate([{{$group: {{_id: {{currency: "$currency", account: "$account"}}, debits: {}, credits: {}}}}}, {{$sort: {{_id: 1}}}}]).toArray().map(b => ({{...b._id, debits: shown(b._id.currency, b.debits), credits: shown(b._id.currency, b.credits)}})))"#,
        side("DEBIT"),
        side("CREDIT")
    );
    let balances = r#"console.table(db.wallet.aggregate([{$group: {_id: "$_id.currency", balances: {$sum: "$balance"}, held: {$sum: "$held"}}}, {$sort: {_id: 1}}]).toArray().map(b => ({currency: b._id, balances: shown(b._id, b.balances), held: shown(b._id, b.held)})))"#;
    let [none, three] = [0, 3].map(with_digits);
    // The point is put into the text of the number: JavaScript's numbers are floats.
    let shown = format!(
        r#"const shown = (currency, sum) => {{ const n = "{none}".includes(currency) ? 0 : "{three}".includes(currency) ? 3 : 2, text = String(sum).padStart(n + 1, "0"); return n ? text.slice(0, -n) + "." + text.slice(-n) : text }}"#
    );
    // It waits for ever when it cannot write its log into the home folder.
    let home = quote::shell(&databases.state().folder("home")?.to_string_lossy());
    let url = databases.urls_for_services().await?.mongodb_reader;
    let file = databases.state().keep_secret("mongodb-reader-url", &url)?;
    let file = quote::shell(&file.to_string_lossy());
    let log_in = r#"db = connect(fs.readFileSync(process.env.URL_FILE, "utf8"))"#;
    Ok(format!(
        "{ALONE} HOME={home} URL_FILE={file} mongosh --norc --quiet --nodb --eval '{log_in}' --eval '{shown}; {entries}; \
         {balances}'"
    ))
}

/// The codes of the currencies whose minor unit has this many digits. Nearly all others have two.
fn with_digits(digits: u32) -> String {
    let codes = Currency::all().filter(|currency| currency.minor_digits() == digits);
    codes.map(|currency| currency.to_string()).collect::<Vec<_>>().join(" ")
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
    let shown = |line: &Line, minor_units| Decimal::of(&line.currency, minor_units);
    let entries = lines.iter().map(|line| {
        let [debit, credit] = [line.debit, line.credit].map(|sum| shown(line, sum));
        format!("{} {} {debit} {credit}", line.currency, line.account)
    });
    let owners = lines.iter().filter(|line| line.has_owners());
    let balances = owners.map(|line| {
        let [balance, held] = [line.balance, line.held].map(|sum| shown(line, sum));
        format!("{} {balance} {held}", line.currency)
    });
    entries.chain(balances).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command lines know none, two and three.
    #[test]
    fn no_currency_has_one_digit_or_more_than_three() {
        assert!(Currency::all().all(|currency| [0, 2, 3].contains(&currency.minor_digits())));
    }

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
