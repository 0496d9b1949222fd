//! Certificates are renewed and their authority is replaced while all clients call, and passwords of databases are.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::ADMIN_ABOVE;

use super::clients::{ALL, Calling, Manner, ensure_none_failed};
use super::databases::{in_postgresql, times_told};
use super::login::secret;
use super::passwords;
use super::patience::wait_for;
use super::plan::Plan;
use super::pods::{self, Watched};
use super::shop::Shop;
use crate::deploy::kubernetes::certificates::{self, Issuer};
use crate::deploy::kubernetes::cluster::{Cluster, NAMESPACE};
use crate::deploy::kubernetes::entry::{SERVICES, trusted};
use crate::out;

/// A kubelet looks at the Secrets of a pod once a minute, and a service at its files every 10 s.
const READ_WITHIN: Duration = Duration::from_secs(150);
const STARTS_WITHIN: Duration = Duration::from_secs(120);
const RELOADED: &str = "tls_reloads_total{result=\"ok\"}";
const REFUSED: &str = "tls_reloads_total{result=\"failed\"}";
const REDIS: [&str; 2] = ["session-redis", "event-redis"];

pub(super) async fn run(shop: &Shop<'_>, production: &Path, plan: Plan) -> Result<()> {
    out::step("another authority beside the present one");
    let cluster = shop.cluster;
    let issuer = Issuer::new(production)?;
    let (old, new) = (trusted(cluster).await?, issuer.ca());
    let both = format!("{}\n{new}", old.trim_end());
    read_by_services(cluster, &certificates::trust(NAMESPACE, &both)?).await?;
    // Clients of gRPC's own libraries read the bundle when they start.
    shop.trust(&both).await?;
    // MongoDB reads its certificate when it starts and is away meanwhile, so it gets one before anybody calls.
    apply(cluster, &issuer.secrets(|secret| secret == "mongodb-tls")?).await?;
    restart_mongodb(shop).await.context("MongoDB with a certificate of the other authority")?;

    out::step("certificates, their authority and passwords are replaced while four clients call");
    let mut calling = Calling::start(shop, &ALL, &Manner { rate: plan.rate, ..Manner::default() }).await?;
    let readers = Readers::of(cluster).await?;
    read_by_services(cluster, &issuer.secrets(|secret| secret != "mongodb-tls")?).await?;
    readers.have_read(cluster).await?;
    calling.after("every certificate is one of the other authority").await?;

    let readers = Readers::of(cluster).await?;
    read_by_services(cluster, &certificates::trust(NAMESPACE, &new)?).await?;
    readers.have_read(cluster).await?;
    shop.trust(&new).await?;
    calling.after("the first authority is trusted no longer").await?;

    read_by_services(cluster, &issuer.secrets(|secret| secret.ends_with("-service-tls"))?).await?;
    calling.after("the services' certificates are renewed").await?;

    passwords::rotate(cluster, &mut calling).await.context("passwords of databases")?;
    ensure_none_failed(&calling.end().await?)
}

async fn apply(cluster: &Cluster, objects: &str) -> Result<()> {
    cluster.tell(&["apply", "--server-side", "--filename", "-"], objects).await.map(drop)
}

async fn restart_mongodb(shop: &Shop<'_>) -> Result<()> {
    let name = "statefulset/mongodb";
    shop.cluster.tell(&["rollout", "restart", name], "").await?;
    shop.cluster.tell(&["rollout", "status", name, "--timeout=180s"], "").await?;
    wait_for(STARTS_WITHIN, "the services to have found it again", async || {
        shop.cast.token(shop.cluster).await.map(drop).map_err(|error| format!("{error:#}"))
    })
    .await
}

/// Applies what services read for TLS, and waits until every pod has read it.
async fn read_by_services(cluster: &Cluster, objects: &str) -> Result<()> {
    let mut pods = Vec::new();
    for (service, port) in SERVICES {
        for way in pods::watch(cluster, service, port + ADMIN_ABOVE).await? {
            let before = way.metrics().await?;
            pods.push((service, way, before));
        }
    }
    apply(cluster, objects).await?;
    pods::hurry(cluster).await?;
    for (service, way, before) in &pods {
        let count = |series| before.get(series).with_context(|| format!("{} has {series}", way.pod));
        let (reloaded, refused) = (count(RELOADED)?, count(REFUSED)?);
        wait_for(READ_WITHIN, &format!("{} to read it", way.pod), async || {
            let Some(now) = of_living(cluster, service, way).await? else { return Ok(()) };
            ensure!(now.get(REFUSED) == Some(refused), "it cannot use what it has read");
            ensure!(now.get(RELOADED) > Some(reloaded), "it has not");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Nothing when the pod was ended by the autoscaler meanwhile.
async fn of_living(
    cluster: &Cluster,
    service: &str,
    way: &Watched,
) -> Result<Option<testkit::admin_port::Metrics>> {
    match way.metrics().await {
        Ok(metrics) => Ok(Some(metrics)),
        Err(error) => {
            let living = pods::of(cluster, service).await?;
            if living.iter().any(|pod| pod.name == way.pod) { Err(error) } else { Ok(None) }
        }
    }
}

/// The databases that take a certificate while they run, with how often each has told that it did.
struct Readers(BTreeMap<&'static str, usize>);

impl Readers {
    async fn of(cluster: &Cluster) -> Result<Self> {
        let mut told = BTreeMap::new();
        for redis in REDIS {
            told.insert(redis, times_told(cluster, redis, "Redis has read its certificate").await?);
        }
        Ok(Self(told))
    }

    /// Waits until they have read what is new.
    async fn have_read(&self, cluster: &Cluster) -> Result<()> {
        for (redis, before) in &self.0 {
            wait_for(READ_WITHIN, &format!("{redis} to read its files"), async || {
                let now = times_told(cluster, redis, "Redis has read its certificate").await?;
                ensure!(now > *before, "it has not");
                anyhow::Ok(())
            })
            .await?;
        }
        // PostgreSQL reads it when it is told to.
        let wanted = secret(cluster, "postgresql-tls", "tls.crt").await?;
        wait_for(READ_WITHIN, "PostgreSQL to have its certificate", async || {
            let present =
                in_postgresql(cluster, "SELECT pg_read_file('/run/tls/certificate/tls.crt')").await?;
            ensure!(present.trim() == wanted.trim(), "it has the one before");
            anyhow::Ok(())
        })
        .await?;
        in_postgresql(cluster, "SELECT pg_reload_conf()").await.map(drop)
    }
}
