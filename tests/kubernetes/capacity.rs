//! Sums: of the times in which a pod starts and ends, and of the connections of all pods.

use std::time::Duration;

use serde_json::Value;
use testkit::Reference;

use crate::manifests::{Manifests, list, name, text};
use crate::tables;

/// What a process may take to hand over its last log lines and spans when it ends.
const FLUSH: Duration = Duration::from_secs(1 + 3);
/// How long a process waits for its database when it starts: `START_UP_WITHIN` of shared/runtime.
const START_UP: Duration = Duration::from_secs(60);
/// Connections that are left for migrations, backups and an operator: `RESERVE` of shared/runtime.
const OTHERS: u64 = 8;
/// The connections by which each of MongoDB's clients watches a member of the replica set.
const WATCHING: u64 = 2;
/// A client of MongoDB has this many connections or more; a process has one client for each thread as far as they go.
const OF_CLIENT: u64 = 16;

/// `5s`, as the settings have it.
fn seconds(setting: Option<String>) -> Option<Duration> {
    setting?.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

/// Pods that may be killed before they have ended.
pub(crate) fn cut_short(manifests: &Manifests) -> Vec<String> {
    let needs = |service: &Value| {
        let delay = seconds(manifests.setting(service, "DRAIN_DELAY"))?;
        let drain = seconds(manifests.setting(service, "DRAIN_TIMEOUT"))?;
        // First the calls, then the workers.
        Some(delay + 2 * drain + FLUSH)
    };
    let look = |service: &Value| {
        let grace = &service["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
        match (needs(service), grace.as_u64().map(Duration::from_secs)) {
            (Some(needs), Some(grace)) if needs <= grace => None,
            (needs, grace) => Some(format!("{}: has {grace:?} and needs {needs:?}", name(service))),
        }
    };
    manifests.services().filter_map(look).collect()
}

/// Pods that are killed while they still wait for their database.
pub(crate) fn started_in_haste(manifests: &Manifests) -> Vec<String> {
    let look = |service: &Value| {
        let probe = &service["spec"]["template"]["spec"]["containers"][0]["startupProbe"];
        let number = |key: &str| probe[key].as_u64().unwrap_or_default();
        let patience = Duration::from_secs(number("periodSeconds") * number("failureThreshold"));
        (patience <= START_UP).then(|| format!("{}: its start may take {patience:?} only", name(service)))
    };
    manifests.services().filter_map(look).collect()
}

/// The least time, in seconds, between two questions of a client of gRPC's own libraries for the addresses of a name:
/// grpc-go's `MinResolutionInterval`, and `grpc.dns_min_time_between_resolutions_ms` of grpc-core and grpc-js.
const ASKED_AGAIN: u64 = 30;

/// Pods that end in a way that costs calls.
pub(crate) fn missed(manifests: &Manifests) -> Vec<String> {
    let mut found = Vec::new();
    for service in manifests.services() {
        let title = name(service);
        let container = &service["spec"]["template"]["spec"]["containers"][0];
        if !container["lifecycle"].is_null() {
            found.push(format!("{title}: a hook delays the moment at which health says NOT_SERVING"));
        }
        if seconds(manifests.setting(service, "DRAIN_DELAY")) != Some(Duration::from_secs(5)) {
            found.push(format!("{title}: DRAIN_DELAY is not 5s"));
        }
        let update = &service["spec"]["strategy"]["rollingUpdate"];
        if update["maxUnavailable"] != 0 {
            found.push(format!("{title}: an old pod may end before a new one is ready"));
        }
        // With some time for DNS itself.
        if service["spec"]["minReadySeconds"].as_u64().is_none_or(|seconds| seconds < ASKED_AGAIN + 10) {
            found.push(format!("{title}: all pods may be replaced before clients ask DNS again"));
        }
    }
    found
}

/// What all pods of a service may open at a database.
struct Load {
    database: &'static str,
    each: u64,
    pods: u64,
    allowed: u64,
}

impl Load {
    fn all(&self) -> u64 {
        self.each * self.pods + OTHERS
    }
}

/// The most pods of a service, and those that there are while all of them are replaced: each old one may still drain when
/// the last new one has started.
fn pods(manifests: &Manifests, service: &str) -> Option<(u64, u64)> {
    let most = manifests.named("HorizontalPodAutoscaler", service)?["spec"]["maxReplicas"].as_u64()?;
    let update = &manifests.named("Deployment", service)?["spec"]["strategy"]["rollingUpdate"];
    let surge = update["maxSurge"].as_u64()?;
    Some((most + surge, 2 * most + surge))
}

/// A number among the settings of a service, or the service's own default.
fn number(manifests: &Manifests, service: &str, variable: &str, default: u64) -> u64 {
    let set = manifests.named("Deployment", service).and_then(|it| manifests.setting(it, variable));
    set.map_or(default, |set| set.parse().expect("a number"))
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark)?.1.split(|c: char| !c.is_ascii_digit()).next()
}

/// What a database allows: of the operator's object, else of the arguments of a server of our own.
fn allowed(manifests: &Manifests, database: &str) -> Option<u64> {
    let server = || {
        manifests.named("StatefulSet", database).map(|it| &it["spec"]["template"]["spec"]["containers"][0])
    };
    let argument = |mark: &str| {
        let arguments = list(&server()?["args"]);
        arguments.iter().find_map(|it| after(text(it), mark))?.parse().ok()
    };
    match database {
        "postgresql" => match manifests.named("Cluster", database) {
            Some(cluster) => {
                text(&cluster["spec"]["postgresql"]["parameters"]["max_connections"]).parse().ok()
            }
            None => argument("max_connections="),
        },
        "mongodb" => match manifests.named("MongoDBCommunity", database) {
            Some(set) => set["spec"]["additionalMongodConfig"]["net.maxIncomingConnections"].as_u64(),
            None => argument("--maxConns="),
        },
        _ => {
            let volumes = &manifests.named("StatefulSet", database)?["spec"]["template"]["spec"]["volumes"];
            let map = list(volumes).iter().find(|it| it["name"] == "configuration")?;
            let map = manifests.named("ConfigMap", text(&map["configMap"]["name"]))?;
            after(text(&map["data"]["redis.conf"]), "\nmaxclients ")?.parse().ok()
        }
    }
}

fn loads(manifests: &Manifests) -> Option<Vec<Load>> {
    let threads = number(manifests, "user-service", "THREADS", 0);
    let mongodb = number(manifests, "user-service", "MONGODB_CONNECTIONS", 64);
    let clients = (mongodb / OF_CLIENT).clamp(1, threads.max(1));
    let each = [
        (
            "PostgreSQL",
            "order-service",
            "postgresql",
            number(manifests, "order-service", "POSTGRES_CONNECTIONS", 28),
        ),
        ("MongoDB", "user-service", "mongodb", mongodb + clients * WATCHING),
        (
            "Redis for sessions",
            "session-service",
            "session-redis",
            number(manifests, "session-service", "REDIS_SESSION_CONNECTIONS", 16),
        ),
    ];
    let load = |(title, service, database, each)| {
        let (_, pods) = pods(manifests, service)?;
        Some(Load { database: title, each, pods, allowed: allowed(manifests, database)? })
    };
    each.into_iter().map(load).collect()
}

/// Databases that all pods together may ask for more connections than there are, and services that do not know how many
/// they are.
pub(crate) fn crowded(manifests: &Manifests) -> Vec<String> {
    let Some(loads) = loads(manifests) else { return vec!["a number is missing".to_owned()] };
    let full = loads.iter().filter(|load| load.all() > load.allowed);
    let mut found: Vec<String> = full
        .map(|load| format!("{} allows {} connections of {}", load.database, load.allowed, load.all()))
        .collect();
    for service in manifests.services() {
        let told = manifests.setting(service, "REPLICAS");
        let most = pods(manifests, name(service)).map(|(most, _)| most);
        if told.as_ref().and_then(|told| told.parse().ok()).is_none_or(|told: u64| Some(told) < most) {
            found.push(format!("{}: REPLICAS is {told:?}, and there may be {most:?}", name(service)));
        }
    }
    found
}

#[test]
fn the_readme_has_the_sum_of_the_connections() {
    let Some(overlays) = Manifests::all("the_readme_has_the_sum_of_the_connections") else { return };
    let production = overlays.last().expect("there is one");
    let loads = loads(production).expect("every number is there");
    let rows = loads.iter().map(|load| {
        let cells = [load.each, load.pods, OTHERS, load.all(), load.allowed].map(|number| number.to_string());
        [vec![load.database.to_owned()], cells.to_vec()].concat()
    });
    let table = tables::markdown(&["database", "a pod", "pods", "others", "all", "allowed"], rows);
    Reference::new(tables::readme(), "connections").check(&table).unwrap();
}
