//! How MongoDB's own server is started, shown on a program that behaves as it does where that is difficult.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bson::doc;
use testkit::programs::{self, MongoProgram};
use testkit::{Lifetime, Mongo, MongoAdmin, MongoKind, Port, State, fake_mongod};

/// A state folder in a folder of its own, since a program that the server's account cannot reach is copied beside it.
async fn state() -> Result<State> {
    let name = format!("tristore-mongod-{}", uuid::Uuid::new_v4().simple());
    State::for_run(&testkit::state::base().with_file_name(name)).await
}

fn remove(state: State) -> Result<()> {
    let folder = state.root().parent().context("a state folder is in another")?.to_path_buf();
    state.remove()?;
    fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))
}

/// A mongod that says that it is of this version.
fn mongod(state: &State, version: &str) -> Result<PathBuf> {
    fake_mongod(&state.path("programs"), Path::new(env!("CARGO_BIN_EXE_fake-mongod")), version)
}

async fn start(program: &MongoProgram, state: &State) -> Result<Mongo> {
    Mongo::start_program(program, state, Port::Free, Lifetime::WithParent, false).await
}

async fn keep(mongo: &Mongo, answer: i32) -> Result<()> {
    let row = doc! { "_id": answer };
    mongo.admin().run("shop", doc! { "insert": "t", "documents": [row] }).await.map(drop)
}

async fn kept(mongo: &Mongo) -> Result<Vec<i32>> {
    let found = mongo.admin().run("shop", doc! { "find": "t", "sort": { "_id": 1 } }).await?;
    let rows = found.get_document("cursor")?.get_array("firstBatch")?;
    rows.iter().map(|row| Ok(row.as_document().context("a row")?.get_i32("_id")?)).collect()
}

/// Claim: a mongod is started as a replica set that asks for users, also by root from a folder that the server's account
/// cannot enter; and what it keeps is there after a start on another port.
#[tokio::test]
async fn a_mongod_is_a_primary_with_users_and_is_so_again_on_another_port() -> Result<()> {
    let state = state().await?;
    let program = mongod(&state, "8.0.4")?;
    let given = MongoProgram::Mongod(program.clone());
    let mongo = start(&given, &state).await?;
    assert_eq!(mongo.kind(), MongoKind::Mongod);
    keep(&mongo, 42).await?;
    let anyone = MongoAdmin::new(&format!("mongodb://127.0.0.1:{}/?directConnection=true", mongo.port()))?;
    let refused = anyone.run("shop", doc! { "find": "t" }).await.unwrap_err();
    assert!(format!("{refused:#}").contains("requires authentication"), "{refused:#}");
    let runs_as = fs::metadata(format!("/proc/{}", mongo.process().pid().context("it runs")?))?.uid();
    assert!(runs_as != 0, "it is root");
    let first = mongo.port();
    mongo.stop().await?;

    let mongo = start(&given, &state).await?;
    ensure!(mongo.port() != first, "the system has given the same port twice");
    assert_eq!(kept(&mongo).await?, [42]);
    keep(&mongo, 43).await?;
    mongo.process().kill().await?;
    mongo.restart().await?;
    assert_eq!(kept(&mongo).await?, [42, 43]);
    let log = fs::read_to_string(state.log("mongodb"))?;
    assert!(!log.contains("rseq"), "{log}");
    mongo.stop().await?;
    remove(state)
}

/// The files of a folder, with what shows that one was written.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64, i64, i64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let data = fs::metadata(&path)?;
        if data.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push((path, data.len(), data.mtime(), data.mtime_nsec()));
        }
    }
    found.sort();
    Ok(found)
}

/// Claim: both kinds of server work in one state folder, one after the other, and neither touches what the other keeps.
#[tokio::test]
async fn neither_kind_of_server_touches_the_files_of_the_other() -> Result<()> {
    let state = state().await?;
    let real = MongoProgram::Mongod(mongod(&state, "8.0.4")?);
    let stand_in = MongoProgram::Secantus(programs::secantus_root()?.join("bin/secantusd-rs"));
    let mongo = start(&stand_in, &state).await?;
    keep(&mongo, 1).await?;
    mongo.stop().await?;
    let before = files(&state.path("mongodb/data"))?;
    ensure!(!before.is_empty(), "the stand-in keeps its files elsewhere");

    let mongo = start(&real, &state).await?;
    assert_eq!(kept(&mongo).await?, [0; 0]);
    keep(&mongo, 2).await?;
    mongo.stop().await?;
    assert_eq!(files(&state.path("mongodb/data"))?, before);

    let mongo = start(&stand_in, &state).await?;
    assert_eq!(kept(&mongo).await?, [1]);
    mongo.stop().await?;
    let mongo = start(&real, &state).await?;
    assert_eq!(kept(&mongo).await?, [2]);
    mongo.stop().await?;
    remove(state)
}

/// Claim: a mongod that is too old is named, with its version, and nothing is started.
#[tokio::test]
async fn a_mongod_that_is_too_old_is_refused_by_name() -> Result<()> {
    let state = state().await?;
    let program = mongod(&state, "7.0.14")?;
    let refused = start(&MongoProgram::Mongod(program.clone()), &state).await.unwrap_err().to_string();
    let said = format!("{} is MongoDB 7.0.14, which is too old: 8.0 or newer is needed", program.display());
    assert!(refused.starts_with(&said), "{refused}");
    assert!(!state.log("mongodb").exists());
    remove(state)
}
