//! What the migrations have made of the database, and what its validators refuse.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bson::{Bson, Document, doc};
use runtime::doctor::Seen;

use super::journey::statements;
use super::place::{Place, plain};
use crate::storage::{Form, Index, Schema, Store, UNAUTHORIZED, bounded_raw, code, forms, number};

const MIGRATE: &str = "user-service migrate";
/// `NamespaceNotFound`.
const NO_COLLECTION: i32 = 26;
/// `DocumentValidationFailure`.
pub(super) const INVALID: i32 = 121;
/// Collections that the migrations themselves keep.
const OF_MIGRATIONS: [&str; 2] = ["migration", "migration_lock"];

pub(super) async fn applied(place: &Place) -> anyhow::Result<Seen> {
    Ok(match place.store.schema().await? {
        Schema::Migrated => Seen::ok("all"),
        Schema::Behind(missing) => Seen::failed(format!("without {}", missing.join(", ")), MIGRATE),
    })
}

/// The answer to a command about the database's own form, or that the login may not ask.
async fn form(place: &Place, command: Document) -> anyhow::Result<Result<Vec<Document>, Seen>> {
    match bounded_raw(place.read.database().run_command(command)).await {
        Ok(answer) => {
            let rows = answer.get_document("cursor")?.get_array("firstBatch")?;
            Ok(Ok(rows.iter().filter_map(Bson::as_document).cloned().collect()))
        }
        Err(error) if code(&error) == Some(UNAUTHORIZED) => {
            Ok(Err(Seen::not_tried("the login may not ask; --admin-url names one that may")))
        }
        Err(error) if code(&error) == Some(NO_COLLECTION) => Ok(Ok(Vec::new())),
        Err(error) => Err(plain(error)),
    }
}

pub(super) async fn indexes(place: &Place) -> anyhow::Result<Seen> {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (name, Form { indexes, .. }) in forms()? {
        if indexes.is_empty() {
            continue;
        }
        let built = match form(place, doc! { "listIndexes": &name }).await? {
            Ok(built) => built,
            Err(seen) => return Ok(seen),
        };
        count += indexes.len();
        for index in indexes {
            let is_named = |built: &Document| built.get_str("name").is_ok_and(|name| name == index.name);
            let there = built.iter().find(|built| is_named(built));
            if there.is_none_or(|built| !is_built(&index, built)) && !(index.optional && there.is_none()) {
                wrong.push((name.clone(), index, there.is_some()));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(Seen::ok(format!("{count} indexes")));
    }
    let database = place.store.database();
    let database = database.name();
    let names: Vec<String> = wrong.iter().map(|(name, index, _)| format!("{name}.{}", index.name)).collect();
    let mend: Vec<String> =
        wrong.iter().map(|(name, index, is_there)| create(database, name, index, *is_there)).collect();
    Ok(Seen::failed(
        format!("missing or other than in the migrations: {}", names.join(", ")),
        mend.join("\n"),
    ))
}

/// What a server may say of an index besides what a migration says.
const PLAIN: [&str; 7] =
    ["v", "ns", "background", "name", "2dsphereIndexVersion", "textIndexVersion", "language_override"];
/// What a server makes of the fields of an index of text.
const TEXT: [&str; 2] = ["_fts", "_ftsx"];

fn is_built(index: &Index, built: &Document) -> bool {
    let ttl = built.get("expireAfterSeconds").and_then(seconds);
    let is_known = |option: &String| {
        PLAIN.contains(&option.as_str())
            || ["key", "unique", "partialFilterExpression", "expireAfterSeconds"].contains(&option.as_str())
            || (is_text(index) && ["weights", "default_language"].contains(&option.as_str()))
    };
    built.get_str("name").is_ok_and(|name| name == index.name)
        && built.get_document("key").is_ok_and(|key| same_key(key, &kept_key(&index.key)))
        && (!is_text(index) || same_text(index, built))
        && built.get_bool("unique").unwrap_or(false) == index.unique
        && built.get_document("partialFilterExpression").ok() == index.partial.as_ref()
        && ttl == index.ttl_seconds
        // One that is hidden or has a collation is there and does not serve.
        && built.keys().all(is_known)
}

fn is_text(index: &Index) -> bool {
    index.key.values().any(|way| way.as_str() == Some("text"))
}

/// The key as a server keeps it: all fields of text are one, where the first of them is.
fn kept_key(key: &Document) -> Document {
    let mut kept = Document::new();
    for (field, way) in key {
        if way.as_str() != Some("text") {
            kept.insert(field.clone(), way.clone());
        } else if !kept.contains_key(TEXT[0]) {
            kept.insert(TEXT[0], "text");
            kept.insert(TEXT[1], 1);
        }
    }
    kept
}

/// Whether each field of text counts as it should, and words are taken apart as they should be.
fn same_text(index: &Index, built: &Document) -> bool {
    let fields = index.key.iter().filter(|(_, way)| way.as_str() == Some("text"));
    let weights: BTreeMap<String, Option<i64>> = fields
        .map(|(field, _)| {
            let weight = index.weights.as_ref().and_then(|weights| weights.get(field));
            (field.clone(), weight.map_or(Some(1), number))
        })
        .collect();
    let built_weights = built.get_document("weights").ok();
    let built_weights: BTreeMap<String, Option<i64>> =
        built_weights.into_iter().flatten().map(|(field, weight)| (field.clone(), number(weight))).collect();
    let language = index.default_language.as_deref().unwrap_or("english");
    weights == built_weights && built.get_str("default_language").is_ok_and(|built| built == language)
}

/// A number of seconds, as a shell or a driver has written it.
fn seconds(value: &Bson) -> Option<u64> {
    match value {
        Bson::Double(seconds) if seconds.fract() == 0.0 && *seconds >= 0.0 => {
            format!("{seconds:.0}").parse().ok()
        }
        other => number(other).and_then(|seconds| u64::try_from(seconds).ok()),
    }
}

/// The same fields in the same order and directions; a shell writes them as floats.
fn same_key(one: &Document, other: &Document) -> bool {
    let plain = |key: &Document| -> Vec<(String, String)> {
        let plain = |way: &Bson| way.to_string().trim_end_matches(".0").to_owned();
        key.iter().map(|(field, way)| (field.clone(), plain(way))).collect()
    };
    plain(one) == plain(other)
}

/// What makes an index by hand, after what is there under its name is gone.
fn create(database: &str, collection: &str, index: &Index, is_there: bool) -> String {
    let mut options = doc! { "name": &index.name };
    if index.unique {
        options.insert("unique", true);
    }
    if let Some(partial) = &index.partial {
        options.insert("partialFilterExpression", partial.clone());
    }
    if let Some(weights) = &index.weights {
        options.insert("weights", weights.clone());
    }
    if let Some(language) = &index.default_language {
        options.insert("default_language", language);
    }
    if let Some(seconds) = index.ttl_seconds {
        options.insert("expireAfterSeconds", i64::try_from(seconds).unwrap_or(i64::MAX));
    }
    let of = format!(r#"db.getSiblingDB("{database}").{collection}"#);
    let create = format!("{of}.createIndex({}, {})", typed(&index.key), typed(&options));
    if is_there { format!("{of}.dropIndex(\"{}\")\n{create}", index.name) } else { create }
}

/// A document as it is typed in a shell, with its numbers as they are.
fn typed(document: &Document) -> String {
    format!("EJSON.parse('{}')", Bson::Document(document.clone()).into_canonical_extjson())
}

pub(super) async fn validators(place: &Place) -> anyhow::Result<Seen> {
    let there = match collections(place).await? {
        Ok(there) => there,
        Err(seen) => return Ok(seen),
    };
    let is_kept = |name: &str, validator: &Document| {
        let options = there.get(name).and_then(|collection| collection.get_document("options").ok());
        options.is_some_and(|options| {
            options.get_document("validator").is_ok_and(|kept| kept == validator)
                && options.get_str("validationLevel").unwrap_or("strict") == "strict"
                && options.get_str("validationAction").unwrap_or("error") == "error"
        })
    };
    let forms = forms()?;
    let all: Vec<(&String, &Document)> =
        forms.iter().filter_map(|(name, form)| Some((name, form.validator.as_ref()?))).collect();
    let wrong: Vec<_> = all.iter().filter(|(name, validator)| !is_kept(name, validator)).collect();
    if wrong.is_empty() {
        return Ok(Seen::ok(format!("{} validators", all.len())));
    }
    let database = place.store.database();
    let database = database.name();
    let names: Vec<&str> = wrong.iter().map(|(name, _)| name.as_str()).collect();
    let change = |(name, validator): &&(&String, &Document)| {
        format!(
            r#"db.getSiblingDB("{database}").runCommand({{collMod: "{name}", validationLevel: "strict", validationAction: "error", validator: {}}})"#,
            typed(validator)
        )
    };
    let mend: Vec<String> = wrong.iter().map(change).collect();
    Ok(Seen::failed(
        format!("missing or other than in the migrations: {}", names.join(", ")),
        mend.join("\n"),
    ))
}

async fn collections(place: &Place) -> anyhow::Result<Result<BTreeMap<String, Document>, Seen>> {
    let list = doc! { "listCollections": 1, "cursor": { "batchSize": 10_000 } };
    Ok(form(place, list).await?.map(|rows| {
        let by_name = |row: Document| Some((row.get_str("name").ok()?.to_owned(), row));
        rows.into_iter().filter_map(by_name).collect()
    }))
}

pub(super) async fn foreign(place: &Place) -> anyhow::Result<Seen> {
    let there = match collections(place).await? {
        Ok(there) => there,
        Err(seen) => return Ok(seen),
    };
    let ours = forms()?;
    let is_foreign = |name: &&String| {
        !ours.contains_key(*name) && !OF_MIGRATIONS.contains(&name.as_str()) && !name.starts_with("system.")
    };
    let foreign: Vec<&str> = there.keys().filter(is_foreign).map(String::as_str).collect();
    if foreign.is_empty() {
        return Ok(Seen::ok("none"));
    }
    let found = format!("{}: who else uses this database?", foreign.join(", "));
    Ok(Seen::advice(found, "name a database of the service's own in MONGODB_URL"))
}

/// Changes each field of a document of each collection to what no validator takes. The service itself has written the
/// documents, so each is one that the validator has taken.
pub(super) async fn refusals(place: &Place, store: &Store) -> anyhow::Result<Seen> {
    statements(place).await?;
    let (mut taken, mut count) = (Vec::new(), 0);
    for (name, form) in forms()? {
        let Some(fields) = form.validator.as_ref().and_then(fields) else { continue };
        let rows = store.collection::<Document>(&name);
        let row = bounded_raw(rows.find_one(doc! {})).await.map_err(plain)?;
        let row = row.with_context(|| format!("the service has written nothing to {name}"))?;
        let by_id = doc! { "_id": row.get("_id") };
        for field in fields {
            count += 1;
            let wrong = doc! { "$set": { &field: 0.5 } };
            match bounded_raw(rows.update_one(by_id.clone(), wrong)).await {
                Err(error) if code(&error) == Some(INVALID) => {}
                Err(error) => return Err(plain(error)),
                Ok(_) => taken.push(format!("{name}.{field}")),
            }
        }
    }
    if taken.is_empty() {
        return Ok(Seen::ok(format!("{count} fields")));
    }
    Ok(Seen::failed(format!("taken: {}", taken.join(", ")), "run MongoDB 8.0, and see schema.validators"))
}

/// The fields that a validator knows, and one that it does not.
fn fields(validator: &Document) -> Option<Vec<String>> {
    let properties = validator.get_document("$jsonSchema").ok()?.get_document("properties").ok()?;
    let known = properties.keys().filter(|field| *field != "_id").cloned();
    Some(known.chain(["doctor".to_owned()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(weight: i64) -> Index {
        let text = r#"{
            "name": "ranked",
            "key": {"state": 1, "name_words": "text", "words": "text"},
            "weights": {"words": WEIGHT},
            "default_language": "none",
            "optional": true
        }"#;
        serde_json::from_str(&text.replace("WEIGHT", &weight.to_string())).unwrap()
    }

    /// As MongoDB 8 lists it.
    fn built() -> Document {
        doc! {
            "v": 2,
            "key": { "state": 1, "_fts": "text", "_ftsx": 1 },
            "name": "ranked",
            "weights": { "name_words": 1, "words": 5 },
            "default_language": "none",
            "language_override": "language",
            "textIndexVersion": 3,
        }
    }

    #[test]
    fn an_index_of_text_is_known_in_the_form_that_a_server_gives_it() {
        assert!(is_built(&index(5), &built()));
        assert!(!is_built(&index(4), &built()), "a field counts otherwise");
        for (option, other) in [
            ("default_language", Bson::from("english")),
            ("weights", doc! { "words": 5 }.into()),
            ("key", doc! { "_fts": "text", "_ftsx": 1, "state": 1 }.into()),
            ("collation", doc! {}.into()),
        ] {
            let mut built = built();
            built.insert(option, other);
            assert!(!is_built(&index(5), &built), "{option}");
        }
        let create = create("db", "user", &index(5), false);
        assert!(create.contains("weights") && create.contains("default_language"), "{create}");
    }

    #[test]
    fn an_index_of_places_has_a_version_of_the_server() {
        let index: Index = serde_json::from_value(serde_json::json!({
            "name": "located", "key": { "place": "2dsphere" }, "partial": { "shared": true },
        }))
        .unwrap();
        let built = doc! {
            "v": 2,
            "key": { "place": "2dsphere" },
            "name": "located",
            "partialFilterExpression": { "shared": true },
            "2dsphereIndexVersion": 3,
        };
        assert!(is_built(&index, &built));
    }
}
