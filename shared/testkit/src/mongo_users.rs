//! The users of a MongoDB database, and the addresses by which they log in.

use anyhow::{Context, Result};
use bson::{Document, doc};
use mongodb::Client;

use crate::mongo_admin::{MongoAdmin, code};
use crate::mongo_roles::MongoRole;

/// `Location51002` and `Location51003`: the role or the user exists.
const EXISTS: [i32; 2] = [51_002, 51_003];

/// The addresses of one database, each as another user. All have passwords in them.
#[derive(Debug, Clone)]
pub struct MongoUrls {
    /// The database's name.
    pub database: String,
    /// Of who applies migrations.
    pub migrate: String,
    /// Of the service.
    pub runtime: String,
    /// Of who looks.
    pub reader: String,
    /// Of who may do everything.
    pub admin: String,
}

impl MongoUrls {
    /// Makes the roles and users of a database, or gives those that are there what the files and `password` say.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn ensure(
        admin: &MongoAdmin,
        database: &str,
        password: impl Fn(MongoRole) -> Result<String>,
    ) -> Result<Self> {
        let client = admin.client().await?;
        let mut urls = Vec::new();
        for role in MongoRole::ALL {
            let password = password(role)?;
            for command in role.commands(database, &password)? {
                make(&client, command).await.with_context(|| format!("making {}", role.name(database)))?;
            }
            urls.push(admin.url_of(&role.name(database), &password, database));
        }
        let [migrate, runtime, reader] = urls.try_into().ok().context("a URL for each role")?;
        let admin = admin.url(database);
        Ok(Self { database: database.to_owned(), migrate, runtime, reader, admin })
    }
}

/// Does a command of a file, or changes what it makes when that is there.
async fn make(client: &Client, command: Document) -> Result<()> {
    let admin = client.database("admin");
    match admin.run_command(command.clone()).await {
        Ok(_) => Ok(()),
        Err(error) if EXISTS.map(Some).contains(&code(&error)) => {
            let mut fields = command.into_iter();
            let (name, of) = fields.next().context("a command has a name")?;
            let mut update = doc! { name.replace("create", "update"): of };
            update.extend(fields);
            admin.run_command(update).await.map(drop).context("changing what is there")
        }
        Err(error) => Err(error.into()),
    }
}
