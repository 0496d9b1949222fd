//! What the migrations make of a database, for whoever compares it with what is there.

use std::collections::BTreeMap;

use bson::Document;

use super::file::{Index, Migration};

/// A collection as the last migration about it leaves it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form {
    /// What its documents must be.
    pub(crate) validator: Option<Document>,
    /// Its indexes, but for that of `_id`.
    pub(crate) indexes: Vec<Index>,
}

/// The collections that these migrations make, one after the other.
pub(super) fn of(migrations: &[Migration]) -> BTreeMap<String, Form> {
    let mut forms: BTreeMap<String, Form> = BTreeMap::new();
    for collection in migrations.iter().flat_map(|migration| &migration.collections) {
        let form = forms.entry(collection.name.clone()).or_default();
        if let Some(validator) = &collection.validator {
            form.validator = Some(validator.clone());
        }
        form.indexes.retain(|index| !collection.dropped_indexes.contains(&index.name));
        for index in &collection.indexes {
            form.indexes.retain(|known| known.name != index.name);
            form.indexes.push(index.clone());
        }
    }
    forms
}
