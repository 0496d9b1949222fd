//! The rules, and which files break them.

use std::collections::BTreeSet;

use crate::crates::{Crate, reach};
use crate::modules::{Module, Words};

pub(crate) const APART: &str =
    "services meet in proto/, never in each other's crates; testkit is for tests only";
pub(crate) const ENGINES: &str = "database drivers are named in storage/, doctor/ and testkit only (Redis in events::bus and redis_connection too)";
pub(crate) const STATED: &str =
    "what storage/ sends to PostgreSQL is said in statements!, so that doctor can have it planned";
pub(crate) const WIRE: &str =
    "tonic and api are named in grpc/, clients/, event encoding and shared crates that serve those";
pub(crate) const PURE: &str =
    "domain/ compiles without a runtime and knows no wire: if a rule needs the time, the time is an argument";
pub(crate) const DOWN: &str =
    "calls go down: { grpc, consumers, doctor }, app, audit, transfers, { storage, clients }, domain";

/// The rooms of a service from the top to the bottom: a file names rooms below its own only. Those on one floor do not
/// name each other.
const FLOORS: [&[&str]; 6] = [
    &["grpc", "consumers", "doctor"],
    &["app"],
    &["audit"],
    &["transfers"],
    &["storage", "clients"],
    &["domain"],
];

/// Files at the top of a service's crate that put it together. They may name anything.
const WIRING: [&str; 5] = ["main.rs", "lib.rs", "config.rs", "serve.rs", "workers.rs"];
/// Files that encode or decode what goes over the wire, in whatever room they are.
const ENCODING: [&str; 5] = ["events.rs", "messages.rs", "command.rs", "answer.rs", "answers.rs"];

const SERVICES: [(&str, &str); 3] =
    [("user", "user_service"), ("order", "order_service"), ("session", "session_service")];
/// The rooms that speak to the database.
const DRIVER_ROOMS: [&str; 2] = ["storage", "doctor"];
const DRIVERS: [&str; 4] = ["sqlx", "mongodb", "bson", "deadpool"];
const WIRE_CRATES: [&str; 2] = ["tonic", "api"];
const NOT_PURE: [&str; 2] = ["tokio", "tonic_types"];

/// Where a source file is: `services/order/src/app/pay_order.rs`.
struct Place<'a> {
    path: &'a str,
    package: &'a str,
    /// The folder within `src`, or nothing.
    room: &'a str,
    file: &'a str,
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Self {
        let parts: Vec<&str> = path.split('/').collect();
        let room = if parts.len() > 4 { parts[3] } else { "" };
        Self { path, package: parts[1], room, file: parts[parts.len() - 1] }
    }

    /// The module that the file is.
    fn module(&self) -> Words {
        let within = self.path.split_once("/src/").map_or("", |(_, within)| within).trim_end_matches(".rs");
        let words = within.split('/').filter(|word| !["lib", "main", "mod"].contains(word));
        words.map(str::to_owned).collect()
    }

    fn is_wiring(&self) -> bool {
        self.room.is_empty() && WIRING.contains(&self.file)
    }

    fn may_name_wire(&self) -> bool {
        let serves = self.path.starts_with("shared/") && !["types", "bookkeeping"].contains(&self.package);
        serves
            || self.is_wiring()
            || ENCODING.contains(&self.file)
            || ["grpc", "clients", "consumers"].contains(&self.room)
    }

    fn may_name_drivers(&self) -> bool {
        self.is_wiring() || DRIVER_ROOMS.contains(&self.room) || self.package == "testkit"
    }

    /// The rooms that a file of this one may not name.
    fn rooms_above(&self) -> Vec<&'static str> {
        let floor = FLOORS.iter().position(|floor| floor.contains(&self.room));
        let above = floor.map_or(&[][..], |floor| &FLOORS[..=floor]);
        above.concat().into_iter().filter(|room| *room != self.room).collect()
    }
}

/// The rules that a manifest or a source file breaks.
pub(crate) fn broken(path: &str, text: &str) -> Vec<&'static str> {
    let place = Place::of(path);
    if place.file == "Cargo.toml" {
        return if links_apart(place.package, text) { vec![] } else { vec![APART] };
    }
    let modules = Module::read(&place.module(), path, text);
    let names = |krate: &&str| modules.iter().any(|module| names_crate(module, krate));
    let other_services = SERVICES.iter().filter(|(package, _)| *package != place.package);
    let names_service = other_services.map(|(_, krate)| krate).any(names);
    let names_above = |room: &&str| modules.iter().any(|module| names_room(module, room));
    let may_name_redis = path.starts_with("shared/events/src/bus") || place.package == "redis_connection";
    let names_redis = names(&"redis") && !may_name_redis;
    let is_impure = NOT_PURE.iter().any(names) || modules.iter().any(|module| module.is_async);

    let rules = [
        (APART, !place.is_wiring() && names_service),
        (ENGINES, !place.may_name_drivers() && (names_redis || DRIVERS.iter().any(names))),
        (STATED, place.room == "storage" && has_unstated(text)),
        (WIRE, !place.may_name_wire() && WIRE_CRATES.iter().any(names)),
        (PURE, place.room == "domain" && is_impure),
        (DOWN, place.rooms_above().iter().any(names_above)),
    ];
    rules.into_iter().filter(|(_, is_broken)| *is_broken).map(|(rule, _)| rule).collect()
}

/// Whether the text of a statement stands where the statement is sent.
fn has_unstated(source: &str) -> bool {
    source.split("sqlx::query(").skip(1).any(|sent| {
        let text = sent.trim_start();
        text.starts_with('"') || text.starts_with("concat!")
    })
}

/// The files of `domain/` that get to know the wire through other files of their crate, and through which.
pub(crate) fn reaching_the_wire(krate: &Crate) -> Vec<(String, String)> {
    let knows_wire =
        |module: &&Module| WIRE_CRATES.iter().chain(&NOT_PURE).any(|krate| names_crate(module, krate));
    let wire: BTreeSet<&str> =
        krate.modules().filter(knows_wire).map(|module| module.file.as_str()).collect();
    let needs = krate.needs();
    let reached = reach(&needs);
    let pure = reached.iter().filter(|(file, _)| Place::of(file).room == "domain");
    pure.flat_map(|(file, reached)| {
        reached.intersection(&wire).map(|other| ((*file).to_owned(), (*other).to_owned()))
    })
    .collect()
}

/// Whether a crate is linked with no other service, and with testkit in its tests only.
fn links_apart(package: &str, manifest: &str) -> bool {
    let linked = manifest.split("[dev-dependencies]").next().unwrap_or(manifest);
    let others = linked.replacen(&format!("\"{package}-service\""), "", 1);
    !others.contains("-service") && !linked.contains("\ntestkit")
}

fn names_crate(module: &Module, name: &str) -> bool {
    let is_named = |path: &[String]| {
        let first = path.iter().find(|word| !word.is_empty());
        first.is_some_and(|word| word == name) && module.absolute(path).is_none()
    };
    module.named().any(is_named)
}

fn names_room(module: &Module, room: &str) -> bool {
    let is_named = |path: &[String]| {
        module.absolute(path).is_some_and(|path| path.first().is_some_and(|word| word == room))
    };
    module.named().any(is_named)
}
