//! Backups of a MongoDB server: its data folder, and the documents of one database.

use anyhow::{Context, Result};
use bson::{Document, doc};

use super::Mongo;
use crate::folder::Backup;

/// A logical backup of one database: the documents in its collections, without indexes and validators.
#[derive(Debug)]
pub struct Documents {
    database: String,
    collections: Vec<(String, Vec<Document>)>,
}

impl Mongo {
    /// Takes a physical backup, for which the server is stopped and started again.
    ///
    /// # Errors
    /// When it does not end or does not start again.
    pub async fn backup(&self) -> Result<Backup> {
        let backup = Backup::beside(&self.data());
        self.stop().await?;
        backup.fill(&self.data()).await?;
        self.restart().await?;
        Ok(backup)
    }

    /// Restores the server from a physical backup: everything written since is lost.
    ///
    /// # Errors
    /// When it does not end or does not start.
    pub async fn restore(&self, backup: &Backup) -> Result<()> {
        self.stop().await?;
        backup.put_back(&self.data()).await?;
        self.restart().await
    }

    /// Takes a logical backup of one database. Nobody may write to it meanwhile.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn dump(&self, database: &str) -> Result<Documents> {
        let found = self.admin.client().await?.database(database);
        let mut collections = Vec::new();
        for name in found.list_collection_names().await.context("listing collections")? {
            let mut cursor = found.collection::<Document>(&name).find(doc! {}).await?;
            let mut documents = Vec::new();
            while cursor.advance().await? {
                documents.push(cursor.deserialize_current()?);
            }
            collections.push((name, documents));
        }
        Ok(Documents { database: database.to_owned(), collections })
    }

    /// Restores the documents of one database. Nobody may use it meanwhile.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn load(&self, dump: &Documents) -> Result<()> {
        let database = self.admin.client().await?.database(&dump.database);
        for (name, documents) in &dump.collections {
            let collection = database.collection::<Document>(name);
            collection.delete_many(doc! {}).await.with_context(|| format!("emptying {name}"))?;
            if !documents.is_empty() {
                collection.insert_many(documents).await.with_context(|| format!("filling {name}"))?;
            }
        }
        Ok(())
    }
}
