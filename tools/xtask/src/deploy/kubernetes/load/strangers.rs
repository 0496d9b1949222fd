//! Wrong certificates are refused, in both directions. Nobody else calls meanwhile.

use anyhow::{Context, Result, ensure};
use api::order::v1::{OrderItem, PlaceOrderRequest};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::client::request_id;
use testkit::{Authority, Subject};
use time::Duration as Time;
use tonic::Code;
use types::{Clock as _, SystemClock};

use super::clients::{ALL, Calling, Client, Manner, failed, peer_id, tell};
use super::patience::wait_for;
use super::pods::{self, Watched};
use super::shop::{SHOP, Shop};
use crate::deploy::kubernetes::certificates;
use crate::deploy::kubernetes::cluster::NAMESPACE;
use crate::deploy::kubernetes::entry::Entry;
use crate::out;

const SERVICE: &str = "order-service";
const ADMIN_PORT: u16 = 50062;
/// Each waits for a server as long as its timeout lets it.
const CALLS: u32 = 2;
const UNKNOWN_CA: &str = "tls_handshakes_total{side=\"server\",result=\"unknown_ca\"}";
const STARTS_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn run(shop: &Shop<'_>) -> Result<()> {
    out::step("wrong certificates");
    let authority = Authority::new("tristore-stranger")?;
    own(shop, &authority).await?;
    let other_ca = ("TRISTORE_CA", "/run/own/ca.crt".to_owned());
    refused(
        shop,
        "the servers' authority is not the one that clients trust",
        &ALL,
        vec![other_ca, ("TLS_CA", "/run/own/ca.crt".to_owned())],
    )
    .await?;
    let wrong = peer_id("user-service").replacen("user-service", SERVICE, 1);
    let another = vec![("TLS_PEER_IDS", wrong)];
    refused(shop, "the server is not whom our client means", &[Client::Rust], another).await?;

    let before = handshakes(shop).await?;
    let certificate =
        vec![("TLS_CERTIFICATE", "/run/own/tls.crt".to_owned()), ("TLS_KEY", "/run/own/tls.key".to_owned())];
    refused(shop, "our client shows a certificate of another authority", &[Client::Rust], certificate)
        .await?;
    let more = handshakes(shop).await? - before;
    ensure!(more > 0.0, "order-service has counted no handshake with an unknown authority");
    out::line(format_args!("  {SERVICE} has refused {more} handshakes: unknown_ca"));
    Box::pin(misled(shop)).await.context("a service that expects others than its peers")
}

/// A certificate of another authority for order service itself, and that authority's.
async fn own(shop: &Shop<'_>, authority: &Authority) -> Result<()> {
    let now = SystemClock.now();
    let (_, uri) = peer_id(SERVICE)
        .split_once('=')
        .map(|(name, id)| (name.to_owned(), id.to_owned()))
        .context("an id")?;
    let subject = Subject {
        hosts: vec![SERVICE.to_owned()],
        uris: vec![uri],
        valid: (now - Time::HOUR, now + Time::DAY),
    };
    let issued = authority.issue(&subject)?;
    let files = [("ca.crt", authority.pem()), ("tls.crt", issued.certificate), ("tls.key", issued.key)];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut secret = String::new();
    certificates::object(&mut secret, "Secret", SHOP, "own", "stringData", &files)?;
    shop.apply(&secret).await
}

async fn refused(
    shop: &Shop<'_>,
    why: &str,
    clients: &[Client],
    variables: Vec<(&'static str, String)>,
) -> Result<()> {
    let manner = Manner { calls: CALLS, rate: 1, variables, own: Some("own") };
    let all = Calling::start(shop, clients, &manner).await?.ended().await?;
    out::line(format_args!("  {why}:"));
    tell(&all);
    for (client, answers) in &all {
        ensure!(
            failed(answers) == u64::from(CALLS),
            "calls of the {} client have succeeded, though {why}: {answers:?}",
            client.name()
        );
    }
    Ok(())
}

async fn handshakes(shop: &Shop<'_>) -> Result<f64> {
    let mut sum = 0.0;
    for way in pods::watch(shop.cluster, SERVICE, ADMIN_PORT).await? {
        sum += way.metrics().await?.get(UNKNOWN_CA).context("refused handshakes are counted")?;
    }
    Ok(sum)
}

/// A pod of order-service that expects other ids of its peers calls them not, and is without them as if they were away.
async fn misled(shop: &Shop<'_>) -> Result<()> {
    let cluster = shop.cluster;
    let deployment = format!("deployment/{SERVICE}");
    let deployment = cluster.tell(&["get", &deployment, "--output", "json"], "").await?;
    let deployment: Value = serde_json::from_str(&deployment).context("the deployment as JSON")?;
    let pod = pod_of(&deployment["spec"]["template"])?;
    cluster.tell(&["apply", "--server-side", "--filename", "-"], &pod.to_string()).await?;
    let seen = is_without_peers(shop).await;
    cluster.tell(&["delete", "pod", MISLED, "--grace-period=1", "--wait=false"], "").await?;
    seen
}

const MISLED: &str = "order-service-misled";

/// A pod like the others but for the ids. It is never ready, so nobody is led to it.
fn pod_of(template: &Value) -> Result<Value> {
    let mut template = template.clone();
    let container = &mut template["spec"]["containers"][0];
    container["readinessProbe"] = json!({ "httpGet": { "path": "/nothing", "port": "admin" } });
    let ids = ["user-service", "session-service"]
        .map(|service| format!("{}-of-another-system", peer_id(service)))
        .join(",");
    let variables = container["env"].as_array().cloned().unwrap_or_default();
    let other = variables.into_iter().chain([json!({ "name": "TLS_PEER_IDS", "value": ids })]);
    container["env"] = other.collect();
    let mut labels = template["metadata"]["labels"].clone();
    labels.as_object_mut().context("labels")?.remove("pod-template-hash");
    labels["tristore/probe"] = json!("true");
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": MISLED, "namespace": NAMESPACE, "labels": labels },
        "spec": template["spec"],
    }))
}

async fn is_without_peers(shop: &Shop<'_>) -> Result<()> {
    let started =
        ["wait", "--for=jsonpath={.status.phase}=Running", "--timeout=60s", &format!("pod/{MISLED}")];
    shop.cluster.tell(&started, "").await?;
    let way = wait_for(STARTS_WITHIN, "its admin port", async || {
        let way = Watched::open(shop.cluster, MISLED, ADMIN_PORT).await?;
        way.metrics().await?;
        anyhow::Ok(way)
    })
    .await?;
    let refused = wait_for(STARTS_WITHIN, "it to refuse its peers", async || {
        let metrics = way.metrics().await?;
        for peer in ["user-service", "session-service"] {
            let ready = metrics.get(&format!("peer_endpoints{{peer=\"{peer}\",state=\"ready\"}}"));
            ensure!(ready == Some(0.0), "{ready:?} servers of {peer} are ready for it");
        }
        let refused = metrics.get("tls_handshakes_total{side=\"client\",result=\"unlisted_id\"}");
        refused.filter(|count| *count > 0.0).context("it has refused nobody")
    })
    .await?;
    out::line(format_args!(
        "  {MISLED} has refused its peers in {refused} handshakes, and calls none: unlisted_id"
    ));

    let usual = ["deployment/user-service", &format!("pod/{MISLED}"), "deployment/session-service"];
    let entry = Entry::to(shop.cluster, usual.map(str::to_owned)).await?;
    let buyer = shop.cast.log_in(&entry).await?;
    let item = OrderItem { product_id: shop.cast.product_id.clone(), quantity: 1, ..OrderItem::default() };
    let request = PlaceOrderRequest { request_id: request_id(), items: vec![item] };
    let answer = buyer.caller.orders().place_order(request).await.err().context("it has placed an order")?;
    ensure!(answer.code() == Code::Unavailable, "it answers {answer:?}, not UNAVAILABLE");
    out::line(format_args!("  asked for an order, it answers UNAVAILABLE: {}", answer.message()));
    Ok(())
}
