//! What `docker-compose.yml` promises: that what it mounts is there, that nobody outside of this machine reaches it, that
//! containers are closed and have time to end, and that the services read the settings that it gives them.

mod file;
mod settings;

use std::collections::BTreeSet;

use file::{Compose, Made, list, text};
use testkit::state::workspace;

/// What each container gets of this machine's files, by its name.
fn mounted(compose: &Compose) -> Vec<(&str, &str)> {
    let of = |(name, service): (_, _)| {
        let service: &serde_json::Value = service;
        let volumes = list(&service["volumes"]).iter().map(|volume| text(&volume["source"]));
        let files = list(&service["env_file"]).iter().map(text);
        volumes.chain(files).filter(|path| path.starts_with("./")).map(move |path| (name, path))
    };
    compose.services().flat_map(of).collect()
}

/// Claim: every file and folder that is mounted is in the repository, or made by `secrets.sh`; and all that it makes is used.
#[test]
fn what_is_mounted_is_there_and_every_secret_is_used() {
    let compose = Compose::read();
    let made = Made::new();
    let prefix = "./deploy/compose/secrets/";
    let mut used = BTreeSet::new();
    for (service, path) in mounted(&compose) {
        if let Some(secret) = path.strip_prefix(prefix) {
            assert!(made.path(secret).exists(), "{service}: secrets.sh makes no {secret}");
            used.insert(secret.split('/').next().unwrap_or(secret).to_owned());
        } else {
            assert!(workspace().join(path).exists(), "{service}: there is no {path}");
        }
    }
    assert_eq!(made.folders(), used);
}

#[test]
fn nobody_outside_of_this_machine_reaches_it() {
    for (name, service) in Compose::read().services() {
        for port in list(&service["ports"]) {
            assert!(text(port).starts_with("127.0.0.1:"), "{name}: {port}");
        }
        assert!(service["network_mode"].is_null() && service["privileged"].is_null(), "{name}");
    }
}

#[test]
fn containers_can_write_nowhere_and_do_nothing_that_needs_a_privilege() {
    for (name, service) in Compose::read().services() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(list(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(list(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
    }
}

/// Claim: a service has its database ready and its migrations applied before it starts, and nobody waits for a peer.
#[test]
fn services_wait_for_their_migrations_and_not_for_each_other() {
    let compose = Compose::read();
    for service in file::SERVICES {
        let needs = compose.service(service)["depends_on"].as_object().expect("it depends on something");
        let condition = |of: &str| needs.get(of).map(|need| text(&need["condition"]));
        let migration = format!("{service}-migration");
        assert_eq!(condition(&migration), Some("service_completed_successfully"), "{service}");
        assert!(file::SERVICES.iter().all(|peer| condition(peer).is_none()), "{service} waits for a peer");
        // Twice DRAIN_TIMEOUT, 10 s unless it is set, and time to flush.
        assert_eq!(compose.service(service)["stop_grace_period"], "60s", "{service}");
    }
}
