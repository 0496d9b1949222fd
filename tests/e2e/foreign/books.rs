//! Both books by psql and mongosh, past the services.

use anyhow::{Context, Result, ensure};
use testkit::state;

use super::as_printed::{Variables, in_odd_shell, run};
use super::up::Up;

/// CLAIM: the lines of `up` for psql and mongosh show, as printed, the figures that `tristore books` has from the
/// services; both logins can only read, and their passwords are on no command line.
pub(super) async fn are_told_alike_by_services_and_databases(up: &Up, variables: &Variables) -> Result<()> {
    let line = |program: &str| {
        let found = up.lines()?.lines().find(|line| line.contains(program) && !line.starts_with("export "));
        found.with_context(|| format!("up prints no line for {program}"))
    };
    let (psql, mongosh) = (line(" psql ")?, line("mongosh ")?);
    let tristore = "eval \"$(cargo xtask env)\"; tristore books";
    let mut here = variables.clone();
    here.insert("TRISTORE_STATE".into(), up.folder.clone().into());
    let told = rows(&printed_by(tristore, &here).await?);
    let by_services = |service: &str| -> Vec<Vec<String>> {
        told.iter().filter(|cells| cells[0] == service).map(|cells| cells[1..].to_vec()).collect()
    };
    for (service, line) in [("order-service", psql), ("user-service", mongosh)] {
        let services = by_services(service);
        ensure!(services.len() >= 2, "tristore tells too little of {service}: {told:?}");
        let (mut entries, mut balances) = (Vec::new(), Vec::new());
        for cells in &services {
            let [account, currency, debits, credits, balance, held] = cells.as_slice() else {
                anyhow::bail!("tristore tells {cells:?}");
            };
            entries.push([currency, account, debits, credits].map(String::clone).to_vec());
            if account == "wallets" || account == "accounts" {
                balances.push([currency, balance, held].map(String::clone).to_vec());
            }
        }
        entries.extend(balances);
        let database = rows(&printed_by(line, &in_odd_shell(variables)).await?);
        let database: Vec<_> = database.into_iter().filter(|cells| cells[0] == "EUR").collect();
        assert_eq!(database, entries, "`{line}` tells another story than {service}");
    }

    for (name, line) in [("postgres-reader", psql), ("mongodb-user_service_reader", mongosh)] {
        let password = std::fs::read_to_string(state::secret_path(&up.folder.join("up"), name))?;
        assert!(!line.contains(&password), "a password on a command line: {line}");
    }
    let (login, _) = mongosh.rsplit_once(" --eval ").context("mongosh's line has a statement")?;
    for statement in ["db.wallet.deleteMany({})", "db.credential.findOne()"] {
        let output = run(&format!("{login} --eval '{statement}'"), variables).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains("not authorized"), "{statement}: {error}");
    }
    let (login, _) = psql.split_once(" -c ").context("psql's line has a statement")?;
    for (statement, refusal) in [
        ("DELETE FROM products", "read-only transaction"),
        ("SET default_transaction_read_only = off; DELETE FROM products", "permission denied"),
    ] {
        let statements = statement.replace("; ", "' -c '");
        let output = run(&format!("{login} -c '{statements}'"), variables).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(refusal), "{statement}: {error}");
    }
    Ok(())
}

async fn printed_by(line: &str, variables: &Variables) -> Result<String> {
    let output = run(&format!("set -eu\n{line}"), variables).await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{line}` does not work as printed:\n{error}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The cells of printed tables, without frames and mongosh's numbers of rows.
fn rows(printed: &str) -> Vec<Vec<String>> {
    let words = |line: &str| -> Vec<String> {
        let cells =
            line.split(|c: char| c.is_whitespace() || "|│'".contains(c)).filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).collect()
    };
    let rows = printed.lines().map(words).map(|cells| match cells.split_first() {
        Some((number, rest)) if number.parse::<u32>().is_ok() => rest.to_vec(),
        _ => cells,
    });
    rows.filter(|cells| !cells.is_empty()).collect()
}
