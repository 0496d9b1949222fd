//! What a command of the service asks for, without its values: two that differ in values only are one statement.

use std::collections::BTreeMap;

use bson::{Bson, Document, doc};

/// A statement that can be explained.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    /// What it is of: its command, collection, conditions and order, without values.
    pub(super) shape: String,
    /// Where it looks.
    pub(super) collection: String,
    /// The command to explain.
    pub(super) explained: Document,
}

/// The commands that look for documents, each of its shape once.
pub(super) fn shapes(commands: &[Document]) -> BTreeMap<String, Statement> {
    let all = commands.iter().flat_map(explainable);
    all.map(|statement| (statement.shape.clone(), statement)).collect()
}

/// The statements of a command; none for one that looks for nothing.
fn explainable(command: &Document) -> Vec<Statement> {
    let Some((name, of)) = command.iter().next() else { return Vec::new() };
    let collection = of.as_str().unwrap_or_default();
    match name.as_str() {
        "find" | "count" | "distinct" => {
            let kept = ["find", "filter", "projection", "sort", "limit", "skip", "hint"];
            vec![statement(name, collection, command.get("filter"), kept_of(command, &kept))]
        }
        "findAndModify" => {
            let kept = ["findAndModify", "query", "update", "remove", "sort", "hint", "new", "upsert"];
            vec![statement(name, collection, command.get("query"), kept_of(command, &kept))]
        }
        "aggregate" => {
            let mut explained = kept_of(command, &["aggregate", "pipeline", "hint"]);
            explained.insert("cursor", doc! {});
            vec![statement(name, collection, command.get("pipeline"), explained)]
        }
        "update" | "delete" => {
            let list = format!("{name}s");
            let each = command.get_array(&list).into_iter().flatten().filter_map(Bson::as_document);
            each.map(|one| {
                statement(name, collection, one.get("q"), doc! { name: collection, &list: [one.clone()] })
            })
            .collect()
        }
        "bulkWrite" => bulk(command),
        _ => Vec::new(),
    }
}

/// A server explains no bulk write, but each of its parts as the command that it stands for.
fn bulk(command: &Document) -> Vec<Statement> {
    let list = |name| command.get_array(name).into_iter().flatten().filter_map(Bson::as_document);
    let names: Vec<&str> = list("nsInfo").filter_map(|place| place.get_str("ns").ok()).collect();
    let part = |part: &Document| {
        let (name, at) = part.iter().next()?;
        let at = at.as_i32().map(i64::from).or_else(|| at.as_i64())?;
        let collection = names.get(usize::try_from(at).ok()?)?.split_once('.')?.1;
        let filter = part.get("filter")?.clone();
        let explained = match name.as_str() {
            "update" => {
                let upsert = part.get_bool("upsert").unwrap_or_default();
                let multi = part.get_bool("multi").unwrap_or_default();
                let one =
                    doc! { "q": &filter, "u": part.get("updateMods")?, "upsert": upsert, "multi": multi };
                doc! { "update": collection, "updates": [one] }
            }
            "delete" => doc! { "delete": collection, "deletes": [{ "q": &filter, "limit": 1 }] },
            _ => return None,
        };
        Some(statement(name, collection, Some(&filter), explained))
    };
    list("ops").filter_map(part).collect()
}

fn kept_of(command: &Document, names: &[&str]) -> Document {
    let kept = command.iter().filter(|(name, _)| names.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn statement(name: &str, collection: &str, condition: Option<&Bson>, explained: Document) -> Statement {
    let mut shape = format!("{name} {collection} {}", condition.map_or_else(|| "{}".to_owned(), shape_of));
    for part in ["sort", "hint"] {
        match explained.get(part) {
            Some(Bson::String(name)) => shape.push_str(&format!(" {part} {name}")),
            Some(Bson::Document(order)) if !order.is_empty() => shape.push_str(&format!(" {part} {order}")),
            _ => {}
        }
    }
    Statement { shape, collection: collection.to_owned(), explained }
}

/// A condition without its values.
fn shape_of(value: &Bson) -> String {
    match value {
        Bson::Document(document) => {
            let fields = document.iter().map(|(field, value)| {
                // The fields of a key and those of an expression belong to their values.
                let inner = if ["_id", "$expr", "$group", "$project", "$set"].contains(&field.as_str()) {
                    operators(value)
                } else {
                    shape_of(value)
                };
                if inner.is_empty() { field.clone() } else { format!("{field}: {inner}") }
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Bson::Array(values) => {
            let mut shapes: Vec<String> =
                values.iter().map(shape_of).filter(|shape| !shape.is_empty()).collect();
            shapes.dedup();
            if shapes.is_empty() { String::new() } else { format!("[{}]", shapes.join(", ")) }
        }
        _ => String::new(),
    }
}

/// The operators at the top of a value, if it has any.
fn operators(value: &Bson) -> String {
    let Bson::Document(document) = value else { return String::new() };
    let operators: Vec<&str> = document
        .keys()
        .filter(|key| ["$gt", "$gte", "$lt", "$lte", "$in", "$nin"].contains(&key.as_str()))
        .map(String::as_str)
        .collect();
    if operators.is_empty() { String::new() } else { format!("{{{}}}", operators.join(", ")) }
}
