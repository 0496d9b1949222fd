//! What a migration file says.

use bson::Document;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// One file. Keys keep the order in which they are written: in an index it matters.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::storage) struct Migration {
    /// Its number, that of the file's name.
    pub(in crate::storage) version: i32,
    /// The file's name.
    #[serde(skip)]
    pub(in crate::storage) name: String,
    /// SHA-256 of the file.
    #[serde(skip)]
    pub(in crate::storage) checksum: String,
    /// Why it exists.
    #[expect(dead_code, reason = "for the reader of the file")]
    about: String,
    #[serde(default)]
    pub(in crate::storage) collections: Vec<Collection>,
    /// Streams that this service produces.
    #[serde(default)]
    pub(in crate::storage) streams: Vec<String>,
    /// Who holds back the pruning of those streams.
    #[serde(default)]
    pub(in crate::storage) consumers: Vec<Consumer>,
}

/// A collection to make, or to give another validator and more indexes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::storage) struct Collection {
    pub(in crate::storage) name: String,
    /// What its documents must be; absent to leave it as it is.
    pub(in crate::storage) validator: Option<Document>,
    #[serde(default)]
    pub(in crate::storage) indexes: Vec<Index>,
    /// Indexes of earlier migrations that no release needs any more.
    #[serde(default)]
    pub(in crate::storage) dropped_indexes: Vec<String>,
}

/// An index to build.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) key: Document,
    #[serde(default)]
    pub(crate) unique: bool,
    pub(crate) partial: Option<Document>,
    /// Deletes documents that many seconds after the key's time.
    pub(crate) ttl_seconds: Option<u64>,
    /// What each field counts in an index of text.
    pub(crate) weights: Option<Document>,
    /// By the rules of which language an index of text takes words apart.
    pub(crate) default_language: Option<String>,
    /// The service works without it, slower: a server that cannot build it is no reason to stop.
    #[serde(default)]
    pub(crate) optional: bool,
}

/// A durable consumer of a stream.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::storage) struct Consumer {
    pub(in crate::storage) stream: String,
    pub(in crate::storage) name: String,
    /// Set where the consumer is one of this service, for which the events before the migration are nothing.
    pub(in crate::storage) begins: Option<Begins>,
}

/// Where a consumer of this service begins. Without it that is the first event, and a stream that is pruned already
/// would stop it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::storage) enum Begins {
    /// Behind the newest event that is stamped when the migration is applied.
    AtHead,
}

impl Migration {
    /// Reads a file.
    pub(in crate::storage) fn parse(name: &str, text: &str) -> Result<Self> {
        let broken = |what: String| Error::internal(format!("migration {name}: {what}"));
        let mut migration: Self = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
        if !name.starts_with(&format!("{:04}_", migration.version)) {
            return Err(broken(format!("it says it is version {}", migration.version)));
        }
        migration.name = name.to_owned();
        migration.checksum = HEXLOWER.encode(&Sha256::digest(text));
        Ok(migration)
    }
}
