//! A database of its own for each test, on servers that all tests share.

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

use crate::mongo_admin::MongoAdmin;
use crate::mongo_users::MongoUrls;
use crate::pgbouncer::Settings;
use crate::psql::PostgresAdmin;
use crate::redis_admin::RedisAdmin;
use crate::test_servers::TestServers;

/// Every database of a test starts with this.
pub const PREFIX: &str = "t_";
const NEXT_DATABASE: &str = "testkit:next-database";

/// A PostgreSQL database for one test, dropped with this value.
#[derive(Debug)]
pub struct TestPostgres {
    admin: PostgresAdmin,
    name: String,
    url: String,
}

impl TestPostgres {
    /// An empty database.
    ///
    /// # Errors
    /// When PostgreSQL is not available.
    pub async fn create() -> Result<Self> {
        Self::create_on(TestServers::get().postgres().await?).await
    }

    /// An empty database on a server of the test's own.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_on(server: &PostgresAdmin) -> Result<Self> {
        let guard = Self::named(server);
        guard.admin.create_database(&guard.name).await?;
        Ok(guard)
    }

    /// A copy of a template that `migrate` makes once in a run. `key` names the template and must change when its
    /// content does. `migrate` gets a URL and must close its connections.
    ///
    /// # Errors
    /// When PostgreSQL is not available, or `migrate` fails.
    pub async fn migrated<F>(key: &str, migrate: F) -> Result<Self>
    where
        F: AsyncFnOnce(String) -> Result<()>,
    {
        let guard = Self::named(TestServers::get().postgres().await?);
        let template = format!("{PREFIX}template_{key}");
        guard.admin.ensure_template(&template, migrate).await?;
        guard.admin.create_database_from_template(&guard.name, &template).await?;
        Ok(guard)
    }

    fn named(admin: &PostgresAdmin) -> Self {
        let name = format!("{PREFIX}{}", Uuid::new_v4().simple());
        Self { url: admin.url(&name), name, admin: admin.clone() }
    }

    /// Its URL, password included.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its URL through a pooler, password included.
    ///
    /// # Errors
    /// When PgBouncer is not available.
    pub async fn url_through_pooler(&self, settings: Settings) -> Result<String> {
        Ok(TestServers::get().pgbouncer(settings).await?.url(&self.name))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        // On a thread of its own, because PostgreSQL waits for handshakes, and this thread's runtime may be in one.
        // A failure does not matter: the whole server is removed at the end of the run.
        let (admin, name) = (self.admin.clone(), std::mem::take(&mut self.name));
        std::thread::spawn(move || admin.drop_database_now(&name));
    }
}

/// A MongoDB database for one test, dropped with this value, and its users and roles with it.
#[derive(Debug)]
pub struct TestMongo {
    admin: MongoAdmin,
    urls: MongoUrls,
}

impl TestMongo {
    /// A database that is made by the first write to it.
    ///
    /// # Errors
    /// When MongoDB is not available.
    pub async fn create() -> Result<Self> {
        let admin = TestServers::get().mongo().await?;
        let name = format!("{PREFIX}{}", Uuid::new_v4().simple());
        let password = |_| Ok(Uuid::new_v4().simple().to_string());
        Ok(Self { urls: MongoUrls::ensure(admin, &name, password).await?, admin: admin.clone() })
    }

    /// Its URL for the service, password included; the path is its name.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.urls.runtime
    }

    /// Its URL for who applies migrations, password included.
    #[must_use]
    pub fn migrate_url(&self) -> &str {
        &self.urls.migrate
    }

    /// Its URL for who may do everything, as tests do that look behind the service, password included.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        &self.urls.admin
    }

    /// All of its URLs.
    #[must_use]
    pub fn urls(&self) -> &MongoUrls {
        &self.urls
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.urls.database
    }
}

impl Drop for TestMongo {
    fn drop(&mut self) {
        let _ = self.admin.drop_database_now(&self.urls.database);
    }
}

/// A numbered Redis database for one test, emptied with this value.
///
/// All databases of a server share the channels of Pub/Sub, so a test that publishes or subscribes puts
/// [`TestRedis::prefix`] into the channel's name.
#[derive(Debug)]
pub struct TestRedis {
    admin: RedisAdmin,
    number: u32,
    url: String,
    prefix: String,
}

impl TestRedis {
    /// On the Redis for sessions.
    ///
    /// # Errors
    /// When Redis is not available.
    pub async fn sessions() -> Result<Self> {
        Self::on(TestServers::get().redis_session().await?).await
    }

    /// On the Redis for events and cache.
    ///
    /// # Errors
    /// When Redis is not available.
    pub async fn events() -> Result<Self> {
        Self::on(TestServers::get().redis_events().await?).await
    }

    async fn on(admin: &RedisAdmin) -> Result<Self> {
        let answer = admin.run(0, &["CONFIG", "GET", "databases"]).await?;
        let databases: u32 = answer.lines().last().and_then(|count| count.parse().ok()).unwrap_or_default();
        ensure!(
            databases >= 256,
            "this Redis has {databases} databases; tests need 256, one each (`databases` in redis.conf)"
        );
        let turn: u32 = admin.run(0, &["INCR", NEXT_DATABASE]).await?.parse().context("a counter")?;
        let number = 1 + turn % (databases - 1);
        admin.run(number, &["FLUSHDB"]).await?;
        let prefix = format!("{PREFIX}{}:", Uuid::new_v4().simple());
        Ok(Self { url: admin.url(number), admin: admin.clone(), number, prefix })
    }

    /// Its URL, password and database number included.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Unique to this test.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        let _ = self.admin.run_now(self.number, &["FLUSHDB"]);
    }
}
