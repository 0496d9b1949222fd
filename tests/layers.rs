//! The dependency rules of the workspace, checked by reading its source files. A violation prints the rule.

use std::{fs, path::Path};

const APART: &str = "services meet in proto/, never in each other's crates; testkit is for tests only";
const ENGINES: &str = "database drivers are named in storage/ and testkit only (Redis in events::bus too)";
const WIRE: &str =
    "tonic and api are named in grpc/, clients/, event encoding and shared crates that serve those";
const PURE: &str =
    "domain/ compiles without a runtime and knows no wire: if a rule needs the time, the time is an argument";
const DOWN: &str = "calls go down: grpc, app, audit, transfers, { storage, clients }, domain";

/// Whether the code, tests and comments apart, names `path`. `use crate::{a, b}` names `crate::a` and `crate::b`.
fn names(text: &str, path: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let lines = text.split("#[cfg(test)]").next().unwrap_or(text).lines();
    let code: String = lines.flat_map(|line| [line.split("//").next().unwrap_or(line).trim(), " "]).collect();
    let named = |code: &str, path: &str| {
        code.match_indices(path).any(|(at, _)| {
            let is_start = !code[..at].ends_with(|c| is_word(c) || c == ':');
            is_start && (path.ends_with(':') || !code[at + path.len()..].starts_with(is_word))
        })
    };
    let group = |part: &str| part.contains("use crate::{") && named(part, path.trim_start_matches("crate::"));
    named(&code, path) || path.starts_with("crate::") && code.split(';').any(group)
}

fn broken(path: &str, text: &str) -> Vec<&'static str> {
    let parts: Vec<&str> = path.split('/').collect();
    let (package, file) = (parts[1], parts[parts.len() - 1]);
    let folder = if parts.len() > 4 { parts[3] } else { "" };
    if file == "Cargo.toml" {
        let linked = text.split("[dev-dependencies]").next().unwrap_or(text);
        let others = linked.replacen(&format!("\"{package}-service\""), "", 1);
        let is_broken = others.contains("-service") || linked.contains("\ntestkit");
        return if is_broken { vec![APART] } else { vec![] };
    }
    let wires =
        parts.len() == 4 && ["main.rs", "lib.rs", "config.rs", "serve.rs", "workers.rs"].contains(&file);
    let serves = parts[0] == "shared" && !["types", "bookkeeping"].contains(&package);
    let speaks = wires
        || serves
        || ["events.rs", "messages.rs", "command.rs", "answer.rs", "answers.rs"].contains(&file)
        || ["grpc", "clients", "consumers"].contains(&folder);
    let stores = wires || folder == "storage" || package == "testkit";
    let above = match folder {
        "app" => "crate::grpc",
        "audit" => "crate::grpc crate::app",
        "transfers" => "crate::grpc crate::app crate::audit",
        "storage" => "crate::grpc crate::app crate::audit crate::transfers crate::clients",
        "clients" => "crate::grpc crate::app crate::audit crate::transfers crate::storage",
        _ => "crate::grpc crate::app crate::audit crate::transfers crate::storage crate::clients",
    };
    #[rustfmt::skip]
    let rules = [
        (APART, !wires && package != "user", "user_service::"),
        (APART, !wires && package != "order", "order_service::"),
        (APART, !wires && package != "session", "session_service::"),
        (ENGINES, !stores, "sqlx:: mongodb:: bson:: deadpool::"),
        (ENGINES, !stores && !path.starts_with("shared/events/src/bus"), "redis::"),
        (WIRE, !speaks, "tonic:: api::"),
        (PURE, folder == "domain", "tokio:: async tonic_types::"),
        (DOWN, ["app", "audit", "transfers", "storage", "clients", "domain"].contains(&folder), above),
    ];
    let broken = |paths: &str| paths.split(' ').any(|path| names(text, path));
    let found = rules.iter().filter(|(_, applies, paths)| *applies && broken(paths));
    found.map(|(rule, ..)| *rule).collect()
}

fn check(root: &Path, folder: &Path) -> Vec<String> {
    let check = |path: std::path::PathBuf| {
        let name = path.strip_prefix(root).expect("the path is below the root").display().to_string();
        if path.is_dir() {
            return check(root, &path);
        }
        let is_source = name.ends_with("Cargo.toml") || (name.contains("/src/") && name.ends_with(".rs"));
        let text =
            if is_source { fs::read_to_string(&path).expect("source files are text") } else { String::new() };
        broken(&name, &text).iter().map(|rule| format!("{name}: {rule}")).collect()
    };
    let entries = fs::read_dir(folder).expect("the folder can be read");
    entries.flat_map(|entry| check(entry.expect("the folder can be read").path())).collect()
}

#[test]
fn every_source_file_keeps_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let found = ["services", "shared"].map(|folder| check(root, &root.join(folder))).concat();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
#[rustfmt::skip]
fn a_file_that_breaks_a_rule_is_caught() {
    for (path, text, rules) in [
        ("services/user/Cargo.toml", "name = \"user-service\"\n[dependencies]\ntestkit = 1", vec![APART]),
        ("services/user/src/app/get.rs", "use order_service::Config; use sqlx::PgPool;", vec![APART, ENGINES]),
        ("services/order/src/app/pay.rs", "fn f() -> tonic::Status {}", vec![WIRE]),
        ("shared/bookkeeping/src/chain.rs", "use api::user::v1::WalletEntry;", vec![WIRE]),
        ("services/user/src/domain/user.rs", "use tokio::time;", vec![PURE]),
        ("services/user/src/domain/user.rs", "use tonic_types::FieldViolation;", vec![PURE]),
        ("services/user/src/storage/users.rs", "use crate::{error::Error,\n  app::App};", vec![DOWN]),
        ("services/user/src/clients/order.rs", "fn f() { crate::storage::get() }", vec![DOWN]),
        ("services/user/src/app/get.rs", "use crate::{domain, storage::Store}; // sqlx::x, crate::grpc", vec![]),
    ] {
        assert_eq!(broken(path, text), rules, "{path}: {text}");
    }
}
