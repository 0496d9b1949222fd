//! What an operator runs beside the service, where the database is.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use types::{Failure, SystemClock, SystemIds};

use crate::app::{App, Bootstrapped};
use crate::config::{MongoConfig, PasswordConfig};
use crate::domain::user::UserRefused;
use crate::error::Error;
use crate::grpc;
use crate::passwords::Hasher;
use crate::recount::{Difference, Recount, Recounted};
use crate::storage::{Applied, Shared, Store};

/// Applies the migrations that the database lacks, and tells which.
///
/// # Errors
/// When the database does not come up, or refuses one.
pub async fn migrate(config: &MongoConfig) -> anyhow::Result<Vec<Applied>> {
    let store = connect(config).await?;
    store.require_ours().await.context("--mongodb-url")?;
    Ok(store.migrate().await?)
}

/// Gives the stream a new epoch, and takes it from whoever stamps it: a restored backup may be of the same replica
/// set, so that nothing else tells its history from the one that was lost.
///
/// # Errors
/// When the database does not come up, or has no stream.
pub async fn new_epoch(config: &MongoConfig) -> anyhow::Result<uuid::Uuid> {
    let store = connect(config).await?;
    Ok(store.epoch_replace().await?)
}

/// Compares what is counted of users and posts with what is there, and with `is_to_mend` makes it so; `tell` hears of each
/// difference.
///
/// # Errors
/// When the database does not come up or lacks migrations, or the consumer that counts is far behind.
pub async fn recount(
    config: &MongoConfig,
    is_to_mend: bool,
    tell: impl FnMut(&Difference),
) -> anyhow::Result<Recounted> {
    let store = connect(config).await?;
    store.require_migrated().await?;
    Ok(Recount { store, clock: Arc::new(SystemClock), is_to_mend }.run(tell).await?)
}

/// Who is to be the first admin.
#[derive(Debug)]
pub struct NewAdmin {
    /// The e-mail address.
    pub email: String,
    /// The name to show.
    pub display_name: String,
    /// The password, under the rules for everybody's.
    pub password: SecretString,
}

/// Makes an admin; does nothing when the address is an admin's already.
///
/// # Errors
/// When the address belongs to anybody else, or the name, address or password break the rules of a sign-up.
pub async fn bootstrap_admin(
    mongo: &MongoConfig,
    passwords: PasswordConfig,
    admin: NewAdmin,
) -> anyhow::Result<Bootstrapped> {
    let NewAdmin { email: address, display_name, password } = admin;
    let admin = match grpc::new_admin(&address, &display_name, password.expose_secret()) {
        Err(Failure::Invalid(violations)) => {
            let broken: Vec<_> =
                violations.iter().map(|rule| format!("{} {}", rule.field, rule.description)).collect();
            bail!("{}", broken.join("; "))
        }
        checked => checked?,
    };
    let store = connect(mongo).await?;
    store.require_migrated().await?;
    let app = App::new(store, Hasher::new(passwords)?, Arc::new(SystemClock), Arc::new(SystemIds));
    match app.bootstrap_admin(admin).await {
        Err(Error::User(UserRefused::EmailTaken)) => {
            bail!("{address} belongs to a user who is not an active admin; nothing was changed")
        }
        outcome => Ok(outcome?),
    }
}

async fn connect(config: &MongoConfig) -> anyhow::Result<Store> {
    let store = Store::open(config, Shared::default()).await.context("--mongodb-url")?;
    store.lifetime_check().await;
    Ok(store)
}
