//! How the server would run each statement of the service.
//!
//! A statement is prepared and its plan asked for, with the settings of the service's sessions. That runs nothing, and
//! checks all that running it would: whether tables, columns and unique keys are there, and what the role may do.

use std::borrow::Cow;
use std::collections::BTreeSet;

use anyhow::Context as _;
use runtime::doctor::Seen;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::place::{Place, told};
use crate::storage::{begin_with_settings, every_statement, state_of};

/// Tables with a row a stream, a consumer, an account or the whole system: reading them whole costs nothing.
const SMALL: [&str; 6] =
    ["outbox_lease", "outbox_consumer", "consumer_mark", "audit_state", "audit_sums", "_sqlx_migrations"];
/// What sums up a whole book for an operator or a snapshot, or ends the rebuild of a read model, and is meant to.
const READS_ALL: [&str; 3] =
    ["book::ledger::TRIAL_BALANCE", "customers::CUSTOMERS_REMOVE_UNTOUCHED", "statistics::SUMS_CURSOR"];
const CURSOR: &str = "DECLARE sums NO SCROLL CURSOR FOR";

/// What became of a statement.
pub(super) struct Planned {
    /// Where it is, below `storage`.
    pub(super) name: &'static str,
    plan: Result<Value, (String, Option<String>)>,
}

impl Planned {
    /// Why it cannot be run.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.plan.as_ref().err().map(|(told, _)| told.as_str())
    }

    /// Whether the role may not run it.
    pub(super) fn lacks_privilege(&self) -> bool {
        self.plan.as_ref().is_err_and(|(_, state)| state.as_deref() == Some("42501"))
    }
}

/// Has each statement planned.
pub(super) async fn plan_all(place: &Place) -> anyhow::Result<Vec<Planned>> {
    let mut session = place.another().await?;
    let begin = begin_with_settings(&place.config);
    let mut planned = Vec::new();
    for (path, text) in every_statement() {
        let name = path.split_once("storage::").map_or(path, |(_, name)| name);
        let plan = plan(&mut session, &begin, text.trim_start_matches(CURSOR)).await;
        let plan = plan.map_err(|error| (told(&error), state_of(&error).map(Cow::into_owned)));
        planned.push(Planned { name, plan });
    }
    Ok(planned)
}

/// The plan of a statement, in a transaction of its own. What was prepared is gone afterwards, since a pooler may give the
/// session to others.
async fn plan(session: &mut PgConnection, begin: &str, text: &str) -> sqlx::Result<Value> {
    let nothings = vec!["NULL"; parameters(text)].join(", ");
    let nothings = if nothings.is_empty() { nothings } else { format!("({nothings})") };
    let script = format!("{begin}; PREPARE doctor AS {text}");
    let explained = async {
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *session).await?;
        let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE doctor{nothings}");
        sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut *session).await?.try_get::<Value, _>(0)
    };
    let explained = explained.await;
    sqlx::raw_sql("ROLLBACK; DEALLOCATE ALL").execute(session).await?;
    explained
}

/// The highest number of a parameter.
fn parameters(text: &str) -> usize {
    let numbers = text.split('$').skip(1).map(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().unwrap_or(0)
    });
    numbers.max().unwrap_or(0)
}

pub(super) async fn scans(place: &Place) -> anyhow::Result<Seen> {
    let mut found = Vec::new();
    let planned = plan_all(place).await?;
    let count = planned.len();
    for Planned { name, plan } in planned {
        let Ok(plan) = plan else { return Ok(Seen::not_tried("role.statements has failed")) };
        let root = plan.get(0).and_then(|first| first.get("Plan")).context("a plan without a root")?;
        let mut whole = BTreeSet::new();
        read_whole(root, &mut whole);
        whole.retain(|table| !SMALL.contains(&table.as_str()));
        if !whole.is_empty() && !READS_ALL.contains(&name) {
            found.push(format!("{name} reads {}", Vec::from_iter(whole).join(" and ")));
        }
    }
    Ok(if found.is_empty() {
        Seen::ok(format!("none of {count}, besides {} that sum up a whole book", READS_ALL.len()))
    } else {
        Seen::failed(found.join("; "), "see what schema.indexes says is missing")
    })
}

/// The tables that a plan reads whole.
fn read_whole(node: &Value, whole: &mut BTreeSet<String>) {
    if node["Node Type"] == "Seq Scan"
        && let Some(table) = node["Relation Name"].as_str()
    {
        whole.insert(table.to_owned());
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        read_whole(child, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_by_their_highest_number() {
        for (text, count) in [("SELECT 1", 0), ("SELECT $1, $12, $2", 12), ("SELECT '$'", 0)] {
            assert_eq!(parameters(text), count, "{text}");
        }
    }

    #[test]
    fn a_table_that_is_read_whole_below_other_nodes_is_found() {
        let plan = serde_json::json!({ "Node Type": "Sort", "Plans": [
            { "Node Type": "Index Scan", "Relation Name": "orders" },
            { "Node Type": "Append", "Plans": [{ "Node Type": "Seq Scan", "Relation Name": "holds" }] }
        ]});
        let mut whole = BTreeSet::new();
        read_whole(&plan, &mut whole);
        assert_eq!(Vec::from_iter(whole), ["holds"]);
    }

    #[test]
    fn what_may_read_all_is_a_statement() {
        let names: Vec<&str> = every_statement().map(|(path, _)| path).collect();
        for name in READS_ALL {
            assert!(names.iter().any(|path| path.ends_with(&format!("storage::{name}"))), "{name}");
        }
    }
}
