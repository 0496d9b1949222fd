//! The driver's client keeps the login and the certificates that it was made with. Whoever renews those of a running process
//! writes them into the files that `MONGODB_URL` names; then the client is replaced by another one.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use types::chain;

use super::Store;
use super::latest::Latest;
use super::made::Made;
use super::store::connect;
use crate::config::MongoConfig;
use crate::error::Result;

/// How often the files are read. Until then, new connections are still made with what was in them.
const POLL_EVERY: Duration = Duration::from_secs(2);

impl Store {
    /// Replaces the client whenever its files have another login or other certificates, until `stop`. One that MongoDB does
    /// not take is told of once and tried again; meanwhile the client before it goes on.
    pub async fn renew_client(self, config: MongoConfig, stop: CancellationToken) {
        let mut made = Made::clone(&self.made);
        let mut refused: Option<Made> = None;
        while stop.run_until_cancelled(sleep(POLL_EVERY)).await.is_some() {
            let now = Made::of(config.url.latest().await, &self.place.options).await;
            if now.is(&made) {
                refused = None;
                continue;
            }
            match self.replace_client(&config).await {
                Ok(()) => {
                    tracing::info!("connections to MongoDB are made with what is in the files now");
                    (made, refused) = (now, None);
                }
                Err(error) if !refused.as_ref().is_some_and(|refused| refused.is(&now)) => {
                    tracing::warn!(
                        error = chain(&error),
                        "MongoDB does not take what is in the files now; the login and the certificates before it are used"
                    );
                    refused = Some(now);
                }
                Err(error) => tracing::debug!(error = chain(&error), "MongoDB still does not take it"),
            }
        }
    }

    /// Replaces the client by one of the URL and the files as they are now, if MongoDB takes it.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn replace_client(&self, config: &MongoConfig) -> Result<()> {
        let (database, ..) = connect(config, None, &self.connections).await?;
        let renewed = Self { latest: Latest::Kept(database.clone()), ..self.clone() };
        renewed.ping().await?;
        self.latest.replace(database);
        Ok(())
    }
}
