//! A role of PostgreSQL's that may do what the service needs and no more.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use testkit::TestPostgres;
use uuid::Uuid;

/// Roles belong to the server, so each test has one of its own name. Whoever made one drops it.
pub(crate) struct DatabaseRole {
    pub(crate) name: String,
    /// The URL of the test's database, with this role's login.
    pub(crate) url: String,
}

impl DatabaseRole {
    pub(crate) const PASSWORD: &str = "the-first-password";

    pub(crate) async fn create(database: &TestPostgres) -> Self {
        let name = format!("t_{}", Uuid::new_v4().simple());
        let (scheme, rest) = database.url().split_once("://").unwrap();
        let place = rest.rsplit_once('@').unwrap().1;
        let url = format!("{scheme}://{name}:{}@{place}", Self::PASSWORD);
        let role = Self { name, url };
        let grants = format!(
            "CREATE ROLE ROLE_NAME LOGIN PASSWORD '{}';
             GRANT ALL ON ALL TABLES IN SCHEMA public TO ROLE_NAME;
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ROLE_NAME;
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO ROLE_NAME",
            Self::PASSWORD
        );
        role.run(database, &grants).await;
        role
    }

    /// Runs a script as the owner of the database. `ROLE_NAME` and `DATABASE_NAME` in it are replaced.
    pub(crate) async fn run(&self, database: &TestPostgres, script: &str) {
        let script = script.replace("ROLE_NAME", &self.name).replace("DATABASE_NAME", database.name());
        let mut sql = PgConnection::connect(database.url()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut sql).await.unwrap();
    }

    pub(crate) async fn drop(self, database: &TestPostgres) {
        self.run(database, "DROP OWNED BY ROLE_NAME; DROP ROLE ROLE_NAME").await;
    }
}
