//! How the server is reached, and as whom.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use mongodb::options::{AuthMechanism, Tls};
use runtime::doctor::Seen;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::place::Place;
use super::server::names;

const MEMBERS: &str = "MONGODB_URL=mongodb://USER@HOST1:27017,HOST2:27017,HOST3:27017/user_service?authSource=admin&replicaSet=rs0, with \
                       :PASSWORD after USER";
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Every host of the set, as it names them itself: that is where a client goes after a failover.
fn hosts_of_set(place: &Place) -> Vec<String> {
    ["hosts", "passives", "arbiters"].iter().flat_map(|list| names(&place.hello, list)).collect()
}

pub(super) async fn hosts(place: &Place) -> anyhow::Result<Seen> {
    let hosts = hosts_of_set(place);
    let tried = join_all(hosts.iter().map(|host| connect(host))).await;
    let unreached: Vec<String> = tried.into_iter().filter_map(Result::err).collect();
    let found = hosts.join(", ");
    if !unreached.is_empty() {
        let mend = "name the members as they are reached from here: cfg = rs.conf(); cfg.members[0].host = \"HOST:27017\"; rs.reconfig(cfg)";
        return Ok(Seen::failed(unreached.join("; "), mend));
    }
    match place.store.url_risk(&place.hello) {
        Some(risk) => Ok(Seen::advice(format!("{found}; MONGODB_URL {risk}"), MEMBERS)),
        None => Ok(Seen::ok(found)),
    }
}

/// Fails with what is wrong with it.
async fn connect(host: &str) -> Result<(), String> {
    match timeout(CONNECT_WITHIN, TcpStream::connect(host)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{host}: {error}")),
        Err(_) => Err(format!("{host}: no connection within {CONNECT_WITHIN:?}")),
    }
}

fn is_of_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.ends_with(".sock") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

pub(super) async fn tls(place: &Place) -> anyhow::Result<Seen> {
    match &place.said.tls {
        Some(Tls::Enabled(options)) if options.allow_invalid_certificates == Some(true) => {
            return Ok(Seen::failed(
                "TLS that takes any certificate",
                "take tlsInsecure and tlsAllowInvalidCertificates out of MONGODB_URL, and say tlsCAFile=",
            ));
        }
        Some(Tls::Enabled(_)) => return Ok(Seen::ok("TLS, with the server's certificate verified")),
        Some(Tls::Disabled) | None => {}
    }
    let named = place.said.hosts.iter().map(ToString::to_string).chain(hosts_of_set(place));
    let beyond: Vec<String> = named.filter(|host| !is_of_this_machine(host)).collect();
    if beyond.is_empty() {
        return Ok(Seen::ok("no TLS, and every host is this machine"));
    }
    let found = format!("no TLS to {}", beyond.join(", "));
    Ok(Seen::advice(
        found,
        "add tls=true&tlsCAFile=/path/ca.pem to MONGODB_URL, and net.tls.mode: requireTLS to mongod",
    ))
}

pub(super) async fn mechanism(place: &Place) -> anyhow::Result<Seen> {
    let Some(login) = &place.said.credential else {
        let mend = "start mongod with --auth, make the roles of migrations/user/roles, and name the user in MONGODB_URL";
        return Ok(Seen::advice("no login: whoever reaches the port may do everything", mend));
    };
    let user = login.username.as_deref().unwrap_or("the certificate's user");
    let offered = names(&place.hello, "saslSupportedMechs");
    let found = match &login.mechanism {
        Some(mechanism) => format!("{mechanism:?}"),
        None if offered.is_empty() => "the server's default".to_owned(),
        None => offered.join(", "),
    };
    // Where the URL says nothing, the driver takes the better one of those that the server offers for the user.
    let is_weak = match &login.mechanism {
        Some(mechanism) => [AuthMechanism::ScramSha1, AuthMechanism::Plain].contains(mechanism),
        None => !offered.iter().any(|name| name == "SCRAM-SHA-256"),
    };
    let found = format!("{user} by {found}");
    if !is_weak {
        return Ok(Seen::ok(found));
    }
    let mend =
        format!(r#"db.updateUser("{user}", {{pwd: passwordPrompt(), mechanisms: ["SCRAM-SHA-256"]}})"#);
    Ok(Seen::advice(found, mend))
}

pub(super) async fn source(place: &Place) -> anyhow::Result<Seen> {
    let Some(login) = &place.said.credential else { return Ok(Seen::not_tried("there is no login")) };
    let source = login.source.as_deref().unwrap_or("admin");
    // Certificates are always looked for in the same place, and a DNS record may say it for the URL.
    let is_of_database = place.said.default_database.as_deref() == Some(source);
    if place.says_source || !is_of_database {
        return Ok(Seen::ok(source));
    }
    let found = format!("{source}, because the URL says nothing: another database in it is another login");
    Ok(Seen::advice(found, format!("add authSource={source} to MONGODB_URL")))
}
