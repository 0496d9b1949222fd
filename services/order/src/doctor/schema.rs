//! Whether the schema is the one of this binary.

use runtime::doctor::Seen;

use super::place::Place;
use crate::storage::schema::{MIGRATOR, Schema};

/// The indexes of a migrated database, as PostgreSQL prints them; a test writes them.
const INDEXES: &str = include_str!("indexes.md");

pub(super) async fn migrations(place: &Place) -> anyhow::Result<Seen> {
    if let Schema::Incomplete(versions) = place.store.schema().await? {
        let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
        return Ok(Seen::failed(
            format!("missing or changed: {}", versions.join(", ")),
            "order-service migrate, with a role that owns the tables",
        ));
    }
    let applied: Vec<(i64,)> = place.rows("SELECT version FROM _sqlx_migrations ORDER BY version").await?;
    let newer = applied.iter().filter(|(version,)| !MIGRATOR.version_exists(*version)).count();
    Ok(if newer == 0 {
        Seen::ok(format!("all {}", applied.len()))
    } else {
        Seen::advice(
            format!("all, and {newer} of a newer release"),
            "roll the newer release out, unless it was taken back",
        )
    })
}

pub(super) async fn indexes(place: &Place) -> anyhow::Result<Seen> {
    let query = "SELECT index.relname::text, pg_get_indexdef(indexrelid, 0, true), indisvalid AND indisready
                 FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
                 JOIN pg_class AS relation ON relation.oid = indrelid
                 WHERE relation.relnamespace = current_schema()::regnamespace";
    let there: Vec<(String, String, bool)> = place.rows(query).await?;
    let wanted = INDEXES.lines().filter(|line| line.starts_with("CREATE "));
    let (mut found, mut mend, mut differ) = (Vec::new(), Vec::new(), Vec::new());
    let mut count = 0;
    for wanted in wanted {
        count += 1;
        let name = name_of(wanted);
        match there.iter().find(|(other, ..)| other == name) {
            None => {
                found.push(format!("{name} is missing"));
                mend.push(format!("{};", wanted.replacen("INDEX ", "INDEX CONCURRENTLY ", 1)));
            }
            Some((.., false)) => {
                found.push(format!("{name} is not valid"));
                mend.push(format!("REINDEX INDEX CONCURRENTLY {name};"));
            }
            Some((_, definition, true)) if definition != wanted => differ.push(name),
            Some(_) => {}
        }
    }
    Ok(if !found.is_empty() {
        Seen::failed(found.join(", "), mend.join("\n"))
    } else if differ.is_empty() {
        Seen::ok(format!("all {count}"))
    } else {
        Seen::advice(format!("of another form: {}", differ.join(", ")), "compare them with migrations/order")
    })
}

/// The name in a definition of an index.
fn name_of(definition: &str) -> &str {
    let mut words = definition.split(' ').skip_while(|word| *word != "INDEX");
    words.nth(1).unwrap_or_default()
}

pub(super) async fn constraints(place: &Place) -> anyhow::Result<Seen> {
    let query = "SELECT conrelid::regclass::text, quote_ident(conname), convalidated FROM pg_constraint
                 WHERE connamespace = current_schema()::regnamespace ORDER BY 1, 2";
    let constraints: Vec<(String, String, bool)> = place.rows(query).await?;
    let unchecked: Vec<String> = constraints
        .iter()
        .filter(|(.., is_checked)| !is_checked)
        .map(|(table, name, _)| format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name};"))
        .collect();
    Ok(if unchecked.is_empty() {
        Seen::ok(format!("all {}", constraints.len()))
    } else {
        Seen::failed(format!("{} of {} are not", unchecked.len(), constraints.len()), unchecked.join("\n"))
    })
}

pub(super) async fn publication(place: &Place) -> anyhow::Result<Seen> {
    let query =
        "SELECT coalesce(bool_or(pubinsert AND NOT pubupdate AND NOT pubdelete AND NOT pubtruncate), false),
                        count(*)::integer
                 FROM pg_publication JOIN pg_publication_tables USING (pubname)
                 WHERE pubname = 'outbox' AND tablename = 'outbox'";
    let (has_inserts_only, count): (bool, i32) = place.row(query).await?;
    Ok(match (has_inserts_only, count) {
        (true, _) => Seen::ok("it is there"),
        (false, 0) => Seen::failed(
            "none",
            "CREATE PUBLICATION outbox FOR TABLE outbox WITH (publish = 'insert', publish_via_partition_root = true);",
        ),
        (false, _) => {
            Seen::failed("of more than inserts", "ALTER PUBLICATION outbox SET (publish = 'insert');")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_index_is_found() {
        for definition in
            ["CREATE INDEX orders_due ON orders USING btree (id)", "CREATE UNIQUE INDEX orders_due ON orders"]
        {
            assert_eq!(name_of(definition), "orders_due");
        }
    }
}
