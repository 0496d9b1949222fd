//! Every password by which a service logs in to a database is replaced while clients call, as `deploy/kubernetes/README.md`
//! says: the new login beside the old one, then the Secrets, and when every pod has them, the old one is closed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::clients::Calling;
use super::databases::{in_mongodb, in_postgresql, times_told};
use super::login::{Login, password, secret};
use super::patience::wait_for;
use super::pods;
use crate::deploy::kubernetes::cluster::Cluster;

/// By then a kubelet, which looks once a minute, has brought a changed Secret to its pods.
const ARRIVED_AFTER: Duration = Duration::from_secs(90);
const READ_WITHIN: Duration = Duration::from_secs(150);
const MOVED_WITHIN: Duration = Duration::from_secs(180);
/// Each Redis, the user by whom services log in there, and where the address is that has the password.
const REDIS: [(&str, &str, &str, &str); 2] = [
    ("session-redis", "session-service", "session-service", "redis-session-url"),
    ("event-redis", "events", "user-service", "redis-events-url"),
];
const RUNTIME_ROLE: &str = "user_service_runtime";

pub(super) async fn rotate(cluster: &Cluster, calling: &mut Calling<'_>) -> Result<()> {
    // The two kinds of Redis know a second password of the same user, the others a second user with the same rights.
    let order = Login::of(&secret(cluster, "order-service", "postgres-url").await?)?;
    let user = Login::of(&secret(cluster, "user-service", "mongodb-url").await?)?;
    let (new_order, new_user) = (order.successor("order_service"), user.successor(RUNTIME_ROLE));
    let create = format!(
        "CREATE ROLE {} LOGIN PASSWORD '{}' IN ROLE order_service",
        new_order.user, new_order.password
    );
    in_postgresql(cluster, &create).await?;
    let create = json!({ "createUser": new_user.user, "pwd": new_user.password, "roles": [RUNTIME_ROLE],
        "mechanisms": ["SCRAM-SHA-256"] });
    in_mongodb(cluster, &create.to_string()).await?;
    let mut redis = Vec::new();
    for (server, name, service, key) in REDIS {
        let old = Login::of(&secret(cluster, service, key).await?)?;
        let mut new = old.clone();
        new.password = password();
        let both = format!(">{} >{}", old.password, new.password);
        ensure!(old.user == name, "{service} logs in to {server} as {}, not as {name}", old.user);
        read_users(cluster, server, &format!(">{}", old.password), &both).await?;
        redis.push((server, both, new));
    }
    calling.after("each database knows a new login beside the old one").await?;

    let mut renewed = Vec::new();
    for pod in pods::of(cluster, "user-service").await? {
        renewed.push((pod.name.clone(), times_renewed(cluster, &pod.name).await?));
    }
    let [(_, _, sessions), (_, _, events)] = &redis[..] else { unreachable!("two kinds of Redis") };
    for (secret, login, key) in [
        ("order-service", &new_order, "postgres-url"),
        ("order-service", events, "redis-events-url"),
        ("user-service", &new_user, "mongodb-url"),
        ("user-service", events, "redis-events-url"),
        ("session-service", sessions, "redis-session-url"),
        ("session-service", events, "redis-events-url"),
    ] {
        put(cluster, secret, key, &login.url()).await?;
    }
    put(cluster, "session-service-migration", "redis-session-url", &sessions.url()).await?;
    let changed = Instant::now();
    pods::hurry(cluster).await?;
    for (pod, before) in &renewed {
        wait_for(READ_WITHIN, &format!("{pod} to use its new login"), async || {
            ensure!(times_renewed(cluster, pod).await? > *before, "it has not told so");
            anyhow::Ok(())
        })
        .await?;
    }
    sleep_until(changed + ARRIVED_AFTER).await;
    calling.after("every pod has the new logins").await?;

    // As fast as one lost connection after the other: each is replaced by one with the login that the pod reads then.
    wait_for(MOVED_WITHIN, "order-service to use the new login", async || {
        let of_old = format!("FROM pg_stat_activity WHERE usename = '{}'", order.user);
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM (SELECT pid {of_old} AND state = 'idle' LIMIT 1) AS one"
        );
        in_postgresql(cluster, &end).await?;
        let left = in_postgresql(cluster, &format!("SELECT count(*) {of_old}")).await?;
        ensure!(left == "0", "{left} connections have the old one");
        anyhow::Ok(())
    })
    .await?;
    calling.after("no connection to PostgreSQL has the old login").await?;

    in_postgresql(cluster, &format!("ALTER ROLE {} NOLOGIN", order.user)).await?;
    in_mongodb(cluster, &json!({ "dropUser": user.user }).to_string()).await?;
    for (server, both, new) in &redis {
        read_users(cluster, server, both, &format!(">{}", new.password)).await?;
    }
    calling.after("no database takes the old logins").await
}

/// How often a pod of user-service has told that it reads its files for MongoDB anew.
async fn times_renewed(cluster: &Cluster, pod: &str) -> Result<usize> {
    const TOLD: &str = "connections to MongoDB are made with what is in the files now";
    let log = cluster.tell(&["logs", pod, "--container", "service"], "").await?;
    Ok(log.matches(TOLD).count())
}

/// Changes the users of a Redis, and waits until it has read them.
async fn read_users(cluster: &Cluster, server: &str, before: &str, after: &str) -> Result<()> {
    const TOLD: &str = "Redis has read its users";
    let users = secret(cluster, server, "users.acl").await?;
    ensure!(users.contains(before), "the users of {server} have another password than the services");
    let told = times_told(cluster, server, TOLD).await?;
    put(cluster, server, "users.acl", &format!("{}\n", users.trim_end().replace(before, after))).await?;
    pods::hurry(cluster).await?;
    wait_for(READ_WITHIN, &format!("{server} to read its users"), async || {
        ensure!(times_told(cluster, server, TOLD).await? > told, "it has not");
        anyhow::Ok(())
    })
    .await
}

/// Puts a value into a Secret, by standard input: a command line is seen by everybody.
async fn put(cluster: &Cluster, name: &str, key: &str, value: &str) -> Result<()> {
    let patch = json!({ "stringData": { key: value } }).to_string();
    let args = ["patch", "secret", name, "--type=merge", "--patch-file=/dev/stdin"];
    cluster.tell(&args, &patch).await.with_context(|| format!("putting {key} into {name}")).map(drop)
}
