//! The dependency rules of the workspace, checked by reading its source files. A violation prints the rule.

mod crates;
mod everywhere;
mod known_circles;
mod modules;
mod rules;

use std::collections::BTreeSet;
use std::fs;

use crates::{Circle, Crate, Need};
use everywhere::broken_everywhere;
use known_circles::KNOWN_CIRCLES;
use modules::Files;
use rules::{APART, DOWN, ENGINES, PURE, STATED, WIRE, broken, reaching_the_wire};

/// The source files of the shipped crates and tools, and their manifests.
fn files() -> Files {
    let is_one =
        |name: &str| name.ends_with("Cargo.toml") || (name.contains("/src/") && name.ends_with(".rs"));
    files_in(&["services", "shared", "tools"], is_one)
}

fn files_in(folders: &[&str], is_one: impl Fn(&str) -> bool) -> Files {
    let root = testkit::state::workspace();
    let mut files = Files::new();
    let mut unread: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(path) = unread.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("the folder can be read");
            unread.extend(entries.map(|entry| entry.expect("the folder can be read").path()));
            continue;
        }
        let name = path.strip_prefix(&root).expect("the path is below the root").display().to_string();
        if is_one(&name) {
            files.insert(name, fs::read_to_string(&path).expect("source files are text"));
        }
    }
    files
}

#[test]
fn every_source_file_keeps_the_rules() {
    let files = files();
    let shipped = files.iter().filter(|(path, _)| !path.starts_with("tools/"));
    let broken = shipped
        .flat_map(|(path, text)| broken(path, text).into_iter().map(move |rule| format!("{path}: {rule}")));
    let crates = Crate::all(&files);
    let reaching = crates.iter().flat_map(reaching_the_wire);
    let reaching = reaching.map(|(file, other)| format!("{file}, through {other}: {PURE}"));
    let found: Vec<String> = broken.chain(reaching).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Claim: no program is started with the environment of somebody's shell, and none ends with a backtrace instead of a
/// message. (Build scripts speak to cargo.)
#[test]
fn every_file_keeps_the_rules_for_all() {
    let files = files_in(&["services", "shared", "tools", "tests"], |name| {
        name.ends_with(".rs") && !name.ends_with("build.rs")
    });
    let broken = files.iter().flat_map(|(path, text)| {
        broken_everywhere(path, text).into_iter().map(move |rule| format!("{path}: {rule}"))
    });
    let found: Vec<String> = broken.collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Claim: the files of a crate can be put in an order in which each needs only those before it.
#[test]
fn no_two_files_of_a_crate_need_each_other() {
    let found = unknown_or_gone(&Crate::all(&files()), KNOWN_CIRCLES);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The circles that are not known, and the known ones that are not there.
fn unknown_or_gone(crates: &[Crate], known: &[(&str, &[&str])]) -> Vec<String> {
    let mut gone: BTreeSet<(&str, BTreeSet<String>)> = BTreeSet::new();
    for (name, files) in known {
        gone.insert((name, files.iter().map(|file| format!("{name}/src/{file}")).collect()));
    }
    let mut found = Vec::new();
    for krate in crates {
        for circle in krate.circles() {
            if !gone.remove(&(krate.name.as_str(), circle.files.clone())) {
                found.push(format!("{} has a circle:\n{}", krate.name, told(&circle)));
            }
        }
    }
    let gone = gone.into_iter().map(|(name, files)| {
        format!("a circle of {name} is gone or smaller, mend known_circles.rs: {files:?}")
    });
    found.into_iter().chain(gone).collect()
}

/// The imports that close a circle, one in each line.
fn told(circle: &Circle) -> String {
    let line = |need: &Need| format!("    {} needs {} for {}\n", need.from, need.to, need.path);
    circle.needs.iter().map(line).collect()
}

#[test]
#[rustfmt::skip]
fn a_file_that_breaks_a_rule_is_caught() {
    for (path, text, rules) in [
        ("services/user/Cargo.toml", "name = \"user-service\"\n[dependencies]\ntestkit = 1", vec![APART]),
        ("services/user/src/app/get.rs", "use order_service::Config; use sqlx::PgPool;", vec![APART, ENGINES]),
        ("services/order/src/doctor/plans.rs", "use sqlx::PgConnection; use crate::storage::Store;", vec![]),
        ("services/order/src/storage/orders.rs", "use crate::doctor::CHECKS;", vec![DOWN]),
        ("services/order/src/storage/orders.rs", "sqlx::query(\n  \"SELECT 1\")", vec![STATED]),
        ("services/order/src/storage/orders.rs", "sqlx::query(concat!(\"SELECT \", columns!()))", vec![STATED]),
        ("services/order/src/storage/orders.rs", "sqlx::query(ORDER_FETCH)", vec![]),
        ("services/order/src/app/pay.rs", "fn f() -> tonic::Status {}", vec![WIRE]),
        ("shared/bookkeeping/src/chain.rs", "use api::user::v1::WalletEntry;", vec![WIRE]),
        ("services/user/src/domain/user.rs", "use tokio::time;", vec![PURE]),
        ("services/user/src/domain/user.rs", "use tonic_types::FieldViolation;", vec![PURE]),
        ("services/user/src/domain/user.rs", "async fn f() {}", vec![PURE]),
        ("services/user/src/storage/users.rs", "use crate::{error::Error,\n  app::App};", vec![DOWN]),
        ("services/user/src/storage/users.rs", "use super::super::app::App;", vec![DOWN]),
        ("services/user/src/clients/order.rs", "fn f() { crate::storage::get() }", vec![DOWN]),
        ("services/user/src/clients/order.rs", "fn f() { log!(\"{}\", crate::storage::get()) }", vec![DOWN]),
        ("services/order/src/storage/orders.rs", "use crate::consumers::Customers;", vec![DOWN]),
        ("services/order/src/consumers/moves.rs", "use crate::grpc::DOMAIN;", vec![DOWN]),
        ("services/order/src/consumers/moves.rs", "use crate::{app::App, storage::Tx};", vec![]),
        ("services/user/src/app/get.rs", "use crate::{domain, storage::Store}; // sqlx::x, crate::grpc", vec![]),
        ("services/user/src/app/get.rs", "#[cfg(test)] mod tests { use crate::grpc::X; }", vec![]),
    ] {
        assert_eq!(broken(path, text), rules, "{path}: {text}");
    }
}

/// The files of a small crate.
fn small_crate(files: &[(&str, &str)]) -> Crate {
    let files = files.iter().map(|(file, text)| (format!("services/user/src/{file}"), (*text).to_owned()));
    Crate::all(&files.collect()).pop().expect("it has a root")
}

#[test]
fn a_domain_that_reaches_the_wire_through_another_file_is_caught() {
    let found = |error: &str| {
        reaching_the_wire(&small_crate(&[
            ("lib.rs", "mod domain; mod error; pub use error::Error;"),
            ("domain/mod.rs", "mod user; mod post;"),
            ("domain/user.rs", "use crate::Error;"),
            ("domain/post.rs", "use super::user::User;"),
            ("error.rs", error),
        ]))
    };
    let through =
        |file: &str| (format!("services/user/src/domain/{file}"), "services/user/src/error.rs".to_owned());
    assert_eq!(found("use tonic_types::FieldViolation;"), [through("post.rs"), through("user.rs")]);
    assert_eq!(found("use types::UserId;"), []);
}

#[test]
fn files_that_need_each_other_are_caught() {
    let root = ("lib.rs", "mod a; mod b; mod c; pub use a::A;");
    for (a, b, c, circle) in [
        ("use crate::b::B;", "use crate::a::A;", "", vec!["a.rs", "b.rs"]),
        (
            "use super::b::B;",
            "use super::c::{self, C};",
            "fn f() { crate::a::f() }",
            vec!["a.rs", "b.rs", "c.rs"],
        ),
        // Through the name that the root shows, in a macro, and in a module that is written inside another.
        ("use crate::b::B;", "log!(crate::A::new());", "", vec!["a.rs", "b.rs"]),
        ("use crate::b::B;", "mod inner { use super::super::a::A; }", "", vec!["a.rs", "b.rs"]),
        // Tests, comments, other crates and one direction are no circle.
        ("use crate::b::B;", "#[cfg(test)] mod tests { use crate::a::A; }", "", vec![]),
        ("use crate::b::B;", "// crate::a::A\n use ::a::A; use types::a;", "", vec![]),
        ("use crate::{b::B, c::C};", "use crate::c::C;", "", vec![]),
    ] {
        let circles = small_crate(&[root, ("a.rs", a), ("b.rs", b), ("c.rs", c)]).circles();
        let files: Vec<&str> = circles
            .iter()
            .flat_map(|circle| &circle.files)
            .map(|file| file.rsplit('/').next().unwrap())
            .collect();
        assert_eq!(files, circle, "{a} | {b} | {c}");
    }
}

#[test]
fn a_module_that_only_re_exports_its_children_does_not_need_them() {
    let with = |parent: &str| {
        let files = [("lib.rs", "mod room;"), ("room/mod.rs", parent), ("room/a.rs", "use super::ROOM;")];
        small_crate(&files).circles().len()
    };
    assert_eq!(with("mod a; pub(crate) use a::A; const ROOM: u8 = 1;"), 0);
    assert_eq!(with("mod a; use a::A; const ROOM: u8 = 1;"), 1);
    assert_eq!(with("mod a; const ROOM: u8 = a::A;"), 1);
}

#[test]
fn a_known_circle_is_accepted_until_it_is_gone() {
    let root = ("lib.rs", "mod a; mod b;");
    let known: &[(&str, &[&str])] = &[("services/user", &["a.rs", "b.rs"])];
    let circle = [small_crate(&[root, ("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")])];
    assert!(unknown_or_gone(&circle, known).is_empty());
    let unknown = unknown_or_gone(&circle, &[]);
    let needs = "services/user has a circle:
    services/user/src/a.rs needs services/user/src/b.rs for crate::b::B
    services/user/src/b.rs needs services/user/src/a.rs for crate::a::A
";
    assert_eq!(unknown, [needs]);
    let mended = [small_crate(&[root, ("a.rs", "use crate::b::B;"), ("b.rs", "")])];
    let gone = unknown_or_gone(&mended, known);
    assert!(gone.len() == 1 && gone[0].starts_with("a circle of services/user is gone"), "{gone:?}");
}
