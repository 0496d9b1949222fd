//! How the server would do each statement of the service: the journey sends them to the scratch database, and they are
//! explained on the service's own, with the documents and indexes that it has. Nothing is done there. [`TABLE`] has the index
//! that each is meant to use.

use std::collections::{BTreeMap, BTreeSet};

use bson::{Bson, Document, doc};
use mongodb::error::Error as DriverError;
use runtime::doctor::Seen;

use super::journey::statements;
use super::place::{Place, plain};
use super::statement::{Statement, shapes};
use crate::storage::{Schema, Store, bounded_raw, code};

const BAD_VALUE: i32 = 2;
/// What a server calls the index that every collection has.
const OF_IDS: &str = "_id_";
/// The statements of the service with the index of each, which the journey's tests write.
const TABLE: &str = include_str!("journey/statements.md");

/// Statements that read a whole collection on purpose, by what they are of.
const WHOLE: [(&str, &str); 5] = [
    ("aggregate entry [{$group}]", "the trial balance before the first audit"),
    ("find audit_sum {}", "a document for each account and currency"),
    ("find audit_wallet {}", "the trial balance"),
    ("find wallet {}", "the trial balance"),
    ("find migration {}", "a document for each migration"),
];

/// Statements whose order is in no index, by what they are of.
const SORTED: [&str; 1] = ["find user {state, $text"];

/// The plan that won.
#[derive(Debug, Default)]
pub(super) struct Plan {
    stages: BTreeSet<String>,
    indexes: BTreeSet<String>,
}

/// How many statements there are, and the shapes of those that a judgement is about.
struct Judged {
    count: usize,
    bad: Vec<String>,
}

pub(super) async fn scans(place: &Place, _scratch: &Store) -> anyhow::Result<Seen> {
    let is_bad = |shape: &str, plan: &Plan| plan.has("COLLSCAN") && whole(shape).is_none();
    seen(judge(place, is_bad).await?, |bad| Seen::failed(bad, "no index: see schema.indexes"))
}

pub(super) async fn sorts(place: &Place, _scratch: &Store) -> anyhow::Result<Seen> {
    let is_excused =
        |shape: &str| whole(shape).is_some() || SORTED.iter().any(|sorted| shape.starts_with(sorted));
    let is_bad = |shape: &str, plan: &Plan| (plan.has("SORT") || plan.has("$sort")) && !is_excused(shape);
    seen(judge(place, is_bad).await?, |bad| Seen::failed(bad, "sorted in memory: see schema.indexes"))
}

pub(super) async fn indexes(place: &Place, _scratch: &Store) -> anyhow::Result<Seen> {
    let meant = table(TABLE);
    let is_bad = |shape: &str, plan: &Plan| meant.get(shape) != Some(&plan.index_of(shape).as_str());
    let database = place.store.database();
    let mend = format!(
        "where schema.indexes is ok, the server may choose better from the start: \
         db.getSiblingDB(\"{}\").COLLECTION.getPlanCache().clear()",
        database.name()
    );
    seen(judge(place, is_bad).await?, |bad| Seen::advice(bad, mend))
}

fn seen(judged: Result<Judged, Seen>, bad: impl FnOnce(String) -> Seen) -> anyhow::Result<Seen> {
    Ok(match judged {
        Err(seen) => seen,
        Ok(judged) if judged.bad.is_empty() => Seen::ok(format!("{} statements", judged.count)),
        Ok(judged) => bad(judged.bad.join("; ")),
    })
}

/// Judges the plan of every statement. One that is told to use an index that is not there is always bad.
async fn judge(place: &Place, is_bad: impl Fn(&str, &Plan) -> bool) -> anyhow::Result<Result<Judged, Seen>> {
    // Of a collection that is not there everything is found at once.
    if !matches!(place.store.schema().await?, Schema::Migrated) {
        return Ok(Err(Seen::not_tried("schema.applied has failed")));
    }
    let all = shapes(statements(place).await?);
    let mut judged = Judged { count: all.len(), bad: Vec::new() };
    for statement in all.into_values() {
        match explain(&place.read, &statement).await {
            Ok(plan) if !is_bad(&statement.shape, &plan) => {}
            Ok(_) => judged.bad.push(statement.shape),
            Err(error) if code(&error) == Some(BAD_VALUE) => judged.bad.push(statement.shape),
            Err(error) => return Err(plain(error).context(statement.shape)),
        }
    }
    Ok(Ok(judged))
}

/// How the server would do a statement.
pub(super) async fn explain(store: &Store, statement: &Statement) -> Result<Plan, DriverError> {
    let explain = doc! { "explain": statement.explained.clone(), "verbosity": "queryPlanner" };
    Ok(Plan::of(&bounded_raw(store.database().run_command(explain)).await?))
}

/// The index of each statement, by its shape, as the table's rows say.
fn table(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ")
}

/// Why a statement reads a whole collection, if it does so on purpose.
fn whole(shape: &str) -> Option<&'static str> {
    WHOLE.iter().find(|(whole, _)| shape.starts_with(whole)).map(|(_, why)| *why)
}

impl Plan {
    /// What the server has answered, without the plans that lost.
    fn of(answer: &Document) -> Self {
        let mut plan = Self::default();
        for (key, value) in answer {
            // What lies beside the plan repeats the command and tells of the server.
            if ["queryPlanner", "stages"].contains(&key.as_str()) {
                plan.read(key, value);
            }
        }
        plan
    }

    fn read(&mut self, key: &str, value: &Bson) {
        match value {
            Bson::String(stage) if key == "stage" => {
                if stage == "IDHACK" {
                    self.indexes.insert(OF_IDS.to_owned());
                }
                self.stages.insert(stage.clone());
            }
            Bson::String(index) if key == "indexName" => {
                self.indexes.insert(index.clone());
            }
            Bson::Document(document) if key != "parsedQuery" && key != "rejectedPlans" => {
                for (key, value) in document {
                    if key == "$sort" {
                        self.stages.insert(key.clone());
                    }
                    self.read(key, value);
                }
            }
            Bson::Array(values) if key != "rejectedPlans" => {
                values.iter().for_each(|value| self.read("", value));
            }
            _ => {}
        }
    }

    fn has(&self, stage: &str) -> bool {
        self.stages.contains(stage)
    }

    /// What the table says of a statement with this plan: its indexes, or why it has none.
    pub(super) fn index_of(&self, shape: &str) -> String {
        if self.has("COLLSCAN") || self.indexes.is_empty() {
            return whole(shape).map_or_else(|| "none".to_owned(), |why| format!("none: {why}"));
        }
        self.indexes().collect::<Vec<_>>().join(", ")
    }

    /// The indexes that it uses.
    pub(super) fn indexes(&self) -> impl Iterator<Item = &str> {
        self.indexes.iter().map(String::as_str)
    }
}
