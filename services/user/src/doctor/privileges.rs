//! What the login may do, found by doing it: in transactions that are rolled back, with a key that nobody has.

use bson::{Document, doc};
use runtime::doctor::Seen;
use uuid::Uuid;

use super::place::{Place, plain};
use super::schema::INVALID;
use crate::storage::{DUPLICATE_KEY, LIFETIME, Schema, UNAUTHORIZED, bounded_raw, code, forms};

#[derive(Debug, Clone, Copy)]
enum Deed {
    Find,
    Insert,
    Update,
    Remove,
}

pub(super) async fn find(place: &Place) -> anyhow::Result<Seen> {
    on_every_collection(place, Deed::Find, "find").await
}

pub(super) async fn insert(place: &Place) -> anyhow::Result<Seen> {
    on_every_collection(place, Deed::Insert, "insert").await
}

pub(super) async fn update(place: &Place) -> anyhow::Result<Seen> {
    on_every_collection(place, Deed::Update, "update").await
}

pub(super) async fn remove(place: &Place) -> anyhow::Result<Seen> {
    on_every_collection(place, Deed::Remove, "remove").await
}

async fn on_every_collection(place: &Place, deed: Deed, action: &str) -> anyhow::Result<Seen> {
    // Without the schema an insert would make the collection.
    if !matches!(place.store.schema().await, Ok(Schema::Migrated)) {
        return Ok(Seen::not_tried("schema.applied has failed"));
    }
    let (mut refused, names) = (Vec::new(), forms()?);
    for name in names.keys() {
        if is_refused(place, name, deed).await? {
            refused.push(name.as_str());
        }
    }
    if refused.is_empty() {
        return Ok(Seen::ok(format!("on {} collections", names.len())));
    }
    let database = place.store.database();
    let database = database.name();
    let privileges: Vec<String> = refused
        .iter()
        .map(|name| {
            format!(r#"{{resource: {{db: "{database}", collection: "{name}"}}, actions: ["{action}"]}}"#)
        })
        .collect();
    Ok(Seen::failed(format!("refused on {}", refused.join(", ")), grant(&privileges.join(", "))))
}

/// What gives privileges to the role of the service.
fn grant(privileges: &str) -> String {
    format!(
        r#"db.adminCommand({{grantPrivilegesToRole: "user_service_runtime", privileges: [{privileges}]}})
or make the role anew, as migrations/user/roles/runtime.js says"#
    )
}

async fn is_refused(place: &Place, collection: &str, deed: Deed) -> anyhow::Result<bool> {
    let nobody = doc! { "_id": bson::Uuid::from(Uuid::new_v4()) };
    let mut tx = place.store.begin("doctor").await?;
    let rows = place.store.collection::<Document>(collection);
    let session = tx.session();
    let outcome = match deed {
        Deed::Find => bounded_raw(rows.find_one(nobody).session(session)).await.map(drop),
        Deed::Insert => bounded_raw(rows.insert_one(nobody).session(session)).await.map(drop),
        Deed::Update => {
            let change = doc! { "$set": { "_id": nobody.get("_id") } };
            bounded_raw(rows.update_one(nobody, change).session(session)).await.map(drop)
        }
        Deed::Remove => bounded_raw(rows.delete_one(nobody).session(session)).await.map(drop),
    };
    tx.rollback().await;
    match outcome {
        Ok(()) => Ok(false),
        Err(error) => match code(&error) {
            Some(UNAUTHORIZED) => Ok(true),
            // A document that is refused for what it is was not refused for who wrote it.
            Some(INVALID | DUPLICATE_KEY) => Ok(false),
            _ => Err(plain(error).context(collection.to_owned())),
        },
    }
}

pub(super) async fn identity(place: &Place) -> anyhow::Result<Seen> {
    match place.ask(doc! { "replSetGetConfig": 1 }).await {
        Ok(answer) => {
            let settings = answer.get_document("config").and_then(|config| config.get_document("settings"));
            let id = settings.and_then(|settings| settings.get_object_id("replicaSetId"));
            Ok(match id {
                Ok(id) => Seen::ok(id.to_hex()),
                Err(_) => {
                    Seen::advice("a set without an id: its name has to do", "rs.conf().settings.replicaSetId")
                }
            })
        }
        Err(error) if code(&error) == Some(UNAUTHORIZED) => Ok(Seen::advice(
            "refused: the set is known by its name, and a copy of it elsewhere has the same",
            grant(r#"{resource: {cluster: true}, actions: ["replSetGetConfig"]}"#),
        )),
        Err(error) => Err(plain(error)),
    }
}

pub(super) async fn parameters(place: &Place) -> anyhow::Result<Seen> {
    match place.ask(doc! { "getParameter": 1, LIFETIME: 1 }).await {
        Ok(_) => Ok(Seen::ok("allowed")),
        Err(error) if code(&error) == Some(UNAUTHORIZED) => Ok(Seen::advice(
            "refused: nobody tells the service how long a transaction lives",
            grant(r#"{resource: {cluster: true}, actions: ["getParameter"]}"#),
        )),
        Err(error) => Err(plain(error)),
    }
}
