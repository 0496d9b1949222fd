//! What a replica set is known by: its id, which a restored backup elsewhere does not share, else its name. Reading the id
//! takes the privilege `replSetGetConfig`.
//!
//! A stream keeps both, so that a privilege which is granted or taken away later changes no epoch: the id decides where it
//! is known and was known before, else the name does.

use std::sync::Once;

use bson::{Document, doc};

use crate::error::{Error, Result};
use crate::storage::Store;
use crate::storage::driver::{bounded, bounded_raw, classify, code};

/// `Unauthorized` and `CommandNotFound`: what a server says that will not show the replica set's configuration.
const REFUSES_CONFIG: [i32; 2] = [13, 59];

/// The replica set that a store is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    id: Option<String>,
    name: String,
}

impl Identity {
    /// Asked of the server each time: the address may lead to another set one day.
    ///
    /// # Errors
    /// When the server does not answer, or is in no replica set (yet): whatever else than a refusal keeps the id from
    /// being read says nothing about who the server is.
    pub(super) async fn read(store: &Store) -> Result<Self> {
        static TOLD: Once = Once::new();
        let admin = store.client().database("admin");
        match bounded_raw(admin.run_command(doc! { "replSetGetConfig": 1 })).await {
            Ok(answer) => {
                let config = answer.get_document("config").map_err(Error::unavailable)?;
                let name = config.get_str("_id").map_err(Error::unavailable)?.to_owned();
                let settings = config.get_document("settings").ok();
                let id = settings.and_then(|settings| settings.get_object_id("replicaSetId").ok());
                Ok(Self { id: id.map(|id| id.to_hex()), name })
            }
            Err(error) if code(&error).is_some_and(|code| REFUSES_CONFIG.contains(&code)) => {
                TOLD.call_once(|| {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the replica set's id cannot be read; its name has to do"
                    );
                });
                let hello = bounded(admin.run_command(doc! { "hello": 1 })).await?;
                let name = hello.get_str("setName");
                let name = name.map_err(|_| Error::unavailable("MongoDB is in no replica set"))?;
                Ok(Self { id: None, name: name.to_owned() })
            }
            Err(error) => Err(classify(error).into()),
        }
    }

    /// As a stream keeps it in `server`.
    pub(super) fn server(&self) -> String {
        self.id.clone().unwrap_or_else(|| self.as_name())
    }

    /// As a stream keeps it in `set_name`.
    pub(super) fn set_name(&self) -> &str {
        &self.name
    }

    /// What `server` holds of a stream that was found where the id could not be read.
    fn as_name(&self) -> String {
        format!("set:{}", self.name)
    }

    /// Whether a stream was stamped here that has these in `server` and `set_name`.
    pub(super) fn is(&self, server: &str, set_name: Option<&str>) -> bool {
        let is_of_name = server == self.as_name();
        match &self.id {
            Some(id) => server == id || is_of_name,
            None => is_of_name || set_name == Some(self.name.as_str()),
        }
    }

    /// [`Self::is`], as an expression over a stream's document.
    pub(super) fn is_in_document(&self) -> Document {
        let literally = |text: &str| doc! { "$literal": text };
        let is_of_name = doc! { "$eq": ["$server", literally(&self.as_name())] };
        let other = match &self.id {
            Some(id) => doc! { "$eq": ["$server", literally(id)] },
            None => doc! { "$eq": ["$set_name", literally(&self.name)] },
        };
        doc! { "$or": [is_of_name, other] }
    }

    /// What `server` becomes when the lease is taken, as an expression: an id that was known stays known.
    pub(super) fn server_kept(&self) -> Document {
        let server = doc! { "$literal": self.server() };
        match self.id {
            Some(_) => server,
            None => doc! { "$cond": [self.is_in_document(), "$server", server] },
        }
    }
}
