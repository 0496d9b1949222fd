//! By what users are found, as it is kept in their documents.

use bson::{Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::user_search::{Said, SearchKeys};
use crate::error::{Error, Result};

/// The field that all of it is in.
pub(super) const FIELD: &str = "search";

/// Of what is not needed to change or to show a user.
pub(super) fn without_search() -> Document {
    doc! { FIELD: 0 }
}

/// What a user is found by.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SearchRow {
    name_key: String,
    name_words: Vec<String>,
    words: Vec<String>,
}

impl From<SearchKeys> for SearchRow {
    fn from(keys: SearchKeys) -> Self {
        Self { name_key: keys.name_key, name_words: keys.name_words, words: keys.words }
    }
}

/// What a user says, as BSON.
pub(super) fn document(said: Said<'_>) -> Result<Document> {
    bson::serialize_to_document(&SearchRow::from(said.keys())).map_err(Error::internal)
}
