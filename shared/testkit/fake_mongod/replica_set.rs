//! The replica set's configuration, which a server keeps with its data.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bson::oid::ObjectId;
use bson::{Document, doc};

/// MongoDB's errors.
pub(crate) const UNAUTHORIZED: (i32, &str) = (13, "Unauthorized");
const ALREADY_INITIALIZED: (i32, &str) = (23, "AlreadyInitialized");
const NODE_NOT_FOUND: (i32, &str) = (74, "NodeNotFound");
const NOT_YET_INITIALIZED: (i32, &str) = (94, "NotYetInitialized");
const BAD_CONFIG: (i32, &str) = (103, "NewReplicaSetConfigurationIncompatible");
pub(crate) const NOT_PRIMARY: (i32, &str) = (10_107, "NotWritablePrimary");

/// The set, as this server sees it.
#[derive(Clone)]
pub(crate) struct ReplicaSet(Arc<Kept>);

struct Kept {
    name: String,
    /// Where this server listens.
    host: String,
    /// The file with the configuration.
    file: PathBuf,
    /// A file that is there once the server has a user.
    users: PathBuf,
    config: Mutex<Option<Document>>,
}

/// An error as an answer.
pub(crate) fn error((code, name): (i32, &str), text: &str) -> Document {
    doc! { "ok": 0.0, "errmsg": text, "code": code, "codeName": name }
}

fn version(config: &Document) -> Option<i64> {
    let version = config.get("version")?;
    version.as_i64().or_else(|| version.as_i32().map(i64::from))
}

impl ReplicaSet {
    pub(crate) fn open(data: &Path, name: &str, port: u16) -> Result<Self> {
        let file = data.join("set.bson");
        let config = match fs::read(&file) {
            Ok(bytes) => Some(Document::from_reader(&*bytes).context("the set's configuration")?),
            Err(_) => None,
        };
        Ok(Self(Arc::new(Kept {
            name: name.to_owned(),
            host: format!("127.0.0.1:{port}"),
            file,
            users: data.join("users"),
            config: Mutex::new(config),
        })))
    }

    pub(crate) fn has_users(&self) -> bool {
        self.0.users.exists()
    }

    pub(crate) fn has_a_user_now(&self) -> Result<()> {
        fs::write(&self.0.users, "").context("noting a user")
    }

    /// A member of the set is the one that the configuration names.
    pub(crate) fn is_primary(&self) -> bool {
        self.config().is_some_and(|config| self.names_us(&config))
    }

    /// Answers a command about the set; `None` for another. `is_known` is whether the client has logged in.
    pub(crate) fn answer(&self, name: &str, command: &Document, is_known: bool) -> Result<Option<Document>> {
        if !["replSetInitiate", "replSetGetConfig", "replSetReconfig"].contains(&name) {
            return Ok(None);
        }
        // As long as there is no user, whoever is on the same machine may configure the set, and not look at it.
        let may = is_known || (!self.has_users() && name != "replSetGetConfig");
        if !may {
            return Ok(Some(error(UNAUTHORIZED, &format!("Command {name} requires authentication"))));
        }
        let config = self.config();
        Ok(Some(match (name, config) {
            ("replSetGetConfig", Some(config)) => doc! { "config": config, "ok": 1.0 },
            ("replSetInitiate", None) => {
                let mut first = command.get_document(name)?.clone();
                first.insert("version", 1);
                first.insert("settings", doc! { "replicaSetId": ObjectId::new() });
                self.take(first)?
            }
            ("replSetInitiate", Some(_)) => error(ALREADY_INITIALIZED, "already initialized"),
            ("replSetReconfig", Some(known)) => {
                let new = command.get_document(name)?;
                let is_forced = command.get_bool("force").unwrap_or_default();
                if !self.is_primary() && !is_forced {
                    error(NOT_PRIMARY, "only a primary takes it unless it is forced")
                } else if version(new) <= version(&known) {
                    error(BAD_CONFIG, "its version is not newer")
                } else {
                    self.take(new.clone())?
                }
            }
            _ => error(NOT_YET_INITIALIZED, "no replset config has been received"),
        }))
    }

    /// What a server says of itself instead of what the one behind it says.
    pub(crate) fn greet(&self, hello: &mut Document) {
        // With these a client would wait for more than one answer to one question.
        hello.remove("topologyVersion");
        for name in ["hosts", "primary", "me", "setName", "setVersion", "secondary"] {
            hello.remove(name);
        }
        let is_primary = self.is_primary();
        for flag in ["isWritablePrimary", "ismaster"] {
            if hello.contains_key(flag) {
                hello.insert(flag, is_primary);
            }
        }
        if is_primary {
            let host = &self.0.host;
            hello.extend(doc! { "setName": &self.0.name, "setVersion": 1, "secondary": false });
            hello.extend(doc! { "hosts": [host], "primary": host, "me": host });
        } else {
            hello.insert("isreplicaset", true);
        }
    }

    fn config(&self) -> Option<Document> {
        self.0.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn names_us(&self, config: &Document) -> bool {
        let members = config.get_array("members").into_iter().flatten();
        members
            .filter_map(|member| member.as_document()?.get_str("host").ok())
            .any(|host| host == self.0.host)
    }

    fn take(&self, config: Document) -> Result<Document> {
        if !self.names_us(&config) {
            return Ok(error(NODE_NOT_FOUND, "no host of the new configuration maps to this node"));
        }
        fs::write(&self.0.file, config.to_vec()?).context("keeping the set's configuration")?;
        *self.0.config.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
        Ok(doc! { "ok": 1.0 })
    }
}
