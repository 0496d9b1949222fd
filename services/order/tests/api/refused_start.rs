//! Logins and databases that this service cannot work with: each is told at the start, at once, with the cause and the
//! setting.

use std::sync::Arc;

use order_service::config::PostgresConfig;
use order_service::schema::{migrate_when_up, new_epoch_when_up};
use order_service::storage::{Signals, Store, Use};

use crate::harness::{WITHIN, database};

/// Claim: who starts with a password or a database that the server does not have hears what to look at, and does not wait
/// for it. The password is told to nobody.
#[tokio::test]
async fn a_refused_login_and_a_missing_database_are_told_without_waiting() {
    let database = database().await;
    let (before, place) = database.url().rsplit_once('@').unwrap();
    let (user, _) = before.rsplit_once(':').unwrap();
    let (host, _) = place.rsplit_once('/').unwrap();
    for (url, advice) in [
        (format!("{user}:very-s3cret@{place}"), "it refuses the login; look at the user and the password"),
        (format!("{before}@{host}/nowhere"), "it has no such database; make it"),
    ] {
        let config = PostgresConfig::for_tests(&url);
        let store = Store::open(&config, Use::Calls, Arc::<Signals>::default()).unwrap();
        let started = async {
            [
                store.come_up().await.unwrap_err(),
                migrate_when_up(&config).await.unwrap_err(),
                new_epoch_when_up(&config).await.unwrap_err(),
            ]
        };
        for error in tokio::time::timeout(WITHIN, started).await.expect("nobody waits") {
            let told = format!("{error:#}");
            assert!(told.contains("PostgreSQL cannot be used") && told.contains(advice), "{told}");
            assert!(told.contains("POSTGRES_URL") && !told.contains("s3cret"), "{told}");
        }
    }
}
