//! Many users at once: lists, searches and streams. Most users are written straight into the database, as many as there
//! have to be.

mod list;
mod older;
mod plans;
mod search;
mod stream;

use api::update_mask::FieldMask;
use api::user::v1::User;
use bson::{Bson, DateTime, Document, doc};
use mongodb::Database;
use uuid::Uuid;

use super::super::harness::{Harness, Person, refusal, refused};

/// When the users of tests signed up; each a second after the other unless a test says otherwise.
const LONG_AGO: i64 = 1_700_000_000_000;

/// An id of a time, as ids are made.
fn id_at(millis: i64, number: u32) -> Uuid {
    let number = u128::from(number);
    Uuid::from_u128((u128::try_from(millis).unwrap() << 80) | (7 << 76) | (2 << 62) | number)
}

/// A user as the service writes one, with this name.
fn user(number: u32, name: &str) -> Document {
    let millis = LONG_AGO + i64::from(number) * 1000;
    let time = DateTime::from_millis(millis);
    let words: Vec<String> = types::search::words(name);
    doc! {
        "_id": bson::Uuid::from(id_at(millis, number)),
        "email": format!("{number}@many.example"),
        "email_key": format!("{number}@many.example"),
        "display_name": name,
        "role": "customer",
        "state": "active",
        "auth_epoch": 1_i64,
        "post_count": 0_i64,
        "version": 1_i64,
        "event_version": 1_i64,
        "create_time": time,
        "update_time": time,
        "search": { "name_key": types::search::folded(name), "name_words": words.clone(), "words": words },
    }
}

/// The same with more, or with other, fields.
fn with(mut user: Document, more: Document) -> Document {
    user.extend(more);
    user
}

/// The same with a bio.
fn with_bio(user: Document, bio: &str) -> Document {
    let mut search = user.get_document("search").unwrap().clone();
    let mut words = search.get_array("words").unwrap().clone();
    for word in types::search::words(bio).into_iter().map(Bson::from) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    search.insert("words", words);
    with(user, doc! { "profile": { "bio": bio }, "search": search })
}

/// The same at a place, in hundredths of a degree.
fn at(user: Document, longitude: i32, latitude: i32, is_shared: bool) -> Document {
    let coordinates = [longitude, latitude].map(|hundredths| f64::from(hundredths) / 100.0);
    let location = doc! { "type": "Point", "coordinates": coordinates.as_slice() };
    let mut profile = doc! { "location": location };
    if is_shared {
        profile.insert("location_shared", true);
    }
    with(user, doc! { "profile": profile })
}

fn id(user: &Document) -> String {
    let id: bson::Uuid = bson::deserialize_from_bson(user.get("_id").cloned().unwrap()).unwrap();
    id.to_string()
}

async fn insert(database: &Database, users: &[Document]) {
    for some in users.chunks(2000) {
        database.collection::<Document>("user").insert_many(some).await.unwrap();
    }
}

async fn set(harness: &Harness, id: &str, fields: Document) {
    let by_id = doc! { "_id": bson::Uuid::parse_str(id).unwrap() };
    let change = doc! { "$set": fields };
    let users = harness.database.collection::<Document>("user");
    assert_eq!(users.update_one(by_id, change).await.unwrap().matched_count, 1);
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

fn ids(users: &[User]) -> Vec<String> {
    users.iter().map(|user| user.id.clone()).collect()
}
