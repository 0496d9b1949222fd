//! Claim: a service killed at any named moment and started again leaves nothing behind but the one effect that was
//! asked for. Every run of the tests has one case for each crash point of the design; `cargo xtask sweep` has all.
//! The cases are complete: every point in the sources has one. And no shipped binary contains a point.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use testkit::{Profile, ServiceName, state};
use tests::sweep::{self, EXEMPT, OF_WHOM, Stage};
use tokio::process::Command;

/// A case whose effect does not carry a key of its own: the mark alone keeps it from happening twice.
const TWICE: (&str, &str, &str) = ("consumer.applying", "user.statistics", "CancelOrder");

#[tokio::test]
async fn a_service_killed_at_a_crash_point_leaves_one_effect() -> Result<()> {
    let cases = sweep::short();
    assert_eq!(cases.len(), sweep::SHORT.len(), "each chosen case is one of the sweep's");
    assert!(sweep::SHORT.contains(&TWICE));
    let mut failed = Vec::new();
    let sum = Box::pin(sweep::run(cases, 1, |line| {
        eprintln!("{line}");
        if line.outcome.is_err() {
            failed.push(line.to_string());
        }
    }))
    .await?;
    ensure!(sum.is_good(), "{sum}\n{}", failed.join("\n"));
    Ok(())
}

/// Claim: the sweep would see an effect that happened twice. The same case passes without the flaw, above.
#[tokio::test]
async fn the_sweep_catches_an_effect_that_happens_twice() -> Result<()> {
    let stage = Box::pin(Stage::open(&[(fault::Flaw::VARIABLE, "mark-apart")])).await?;
    let case = sweep::all().into_iter().find(|case| case.key() == TWICE).context("there is such a case")?;
    let caught = Box::pin(sweep::run_case(&stage, &case)).await.expect_err("the effect happened twice");
    assert_eq!(caught.to_string(), "orders cancelled changed by 2, one effect changes it by 1..=1");
    Ok(())
}

/// The points and transactions that the sources name.
#[derive(Debug, Default)]
struct Named {
    /// Points, by name.
    points: BTreeSet<String>,
    /// Points with their part, where that is a literal.
    parts: BTreeSet<(String, String)>,
    /// Transactions and scripts, with the folder of their service.
    operations: BTreeSet<(String, String)>,
}

impl Named {
    fn read() -> Result<Self> {
        let mut named = Self::default();
        for folder in ["shared", "services"] {
            for file in rust_files(&state::workspace().join(folder))? {
                // The workspace itself may be in a folder of any name.
                let within = file.strip_prefix(state::workspace())?;
                let is_tests = within.components().any(|part| {
                    ["tests", "fault", "testkit"].map(Path::new).contains(&Path::new(part.as_os_str()))
                });
                if !is_tests {
                    let place = within.components().nth(1).context("a file is in a folder")?;
                    named.add(&place.as_os_str().to_string_lossy(), &fs::read_to_string(&file)?);
                }
            }
        }
        Ok(named)
    }

    fn add(&mut self, place: &str, source: &str) {
        for call in source.split("fault::point!(").skip(1) {
            let mut words = call.split('"');
            let (Some(_), Some(name), Some(between)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            self.points.insert(name.to_owned());
            if let (true, Some(part)) = (between.trim() == ",", words.next()) {
                self.parts.insert((name.to_owned(), part.to_owned()));
                if name == "business.committed" {
                    self.operations.insert((place.to_owned(), part.to_owned()));
                }
            }
        }
        for call in ["transaction(", ".event_append(", ".act("] {
            for rest in source.split(call).skip(1) {
                if let Some(name) =
                    rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
                {
                    self.operations.insert((place.to_owned(), name.to_owned()));
                }
            }
        }
    }
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

#[test]
fn every_point_in_the_sources_has_a_case_and_every_case_has_its_point() -> Result<()> {
    let named = Named::read()?;
    let cases = sweep::all();
    let points: BTreeSet<String> = cases.iter().map(|case| case.point.to_owned()).collect();
    assert_eq!(named.points, points, "points in the sources (left) and in the sweep (right)");
    let parts: BTreeSet<_> = cases.iter().map(|case| (case.point.to_owned(), case.part.to_owned())).collect();
    let missing: Vec<_> = named.parts.difference(&parts).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");

    let in_folder = |service: ServiceName, name: &str| {
        (service.binary().trim_end_matches("-service").to_owned(), name.to_owned())
    };
    let mut operations: BTreeSet<_> = cases
        .iter()
        .filter(|case| case.point == "business.committed")
        .map(|case| in_folder(case.victim, case.part))
        .collect();
    operations.extend(EXEMPT.iter().map(|&(service, name, _)| in_folder(service, name)));
    assert_eq!(named.operations, operations, "transactions in the sources (left) and in the sweep (right)");
    Ok(())
}

/// Claim: every operation has a case at each point of the streams, consumers and steps that it passes.
#[test]
fn every_operation_has_a_case_at_each_point_that_it_passes() {
    let cases = sweep::all();
    let has = |point: &str, part: &str, operation: &str| {
        cases.iter().any(|case| case.key() == (point, part, operation))
    };
    let stream_points: &[&str] = &["sequencer.stamping", "sequencer.stamped", "relay.published"];
    let session_points: &[&str] = &["relay.read"];
    let consumer_points: &[&str] = &["consumer.received", "consumer.applying", "consumer.applied"];
    let hold_points: &[&str] = &["hold.changing", "hold.changed"];
    let transfer_points: &[&str] = &["transfer.moving", "transfer.moved"];
    for kind in sweep::operations() {
        let way = &kind.way;
        let streams = way
            .streams
            .iter()
            .map(|&stream| (if stream == OF_WHOM { session_points } else { stream_points }, stream));
        let steps =
            [(consumer_points, way.consumers), (hold_points, way.hold), (transfer_points, way.transfer)];
        let steps =
            steps.into_iter().flat_map(|(points, parts)| parts.iter().map(move |&part| (points, part)));
        let passed =
            streams.chain(steps).flat_map(|(points, part)| points.iter().map(move |&point| (point, part)));
        for (point, part) in passed {
            assert!(has(point, part, kind.name), "no case for {point}/{part} {}", kind.name);
        }
    }
}

#[test]
fn each_consumer_and_each_stream_has_a_case_at_all_of_its_points() {
    let cases = sweep::all();
    let has = |point: &str, part: &str| cases.iter().any(|case| case.point == point && case.part == part);
    for (_, consumer) in sweep::CONSUMERS {
        for point in ["consumer.received", "consumer.applying", "consumer.applied", "consumer.leaving"] {
            assert!(has(point, consumer), "no case for {point}/{consumer}");
        }
    }
    for (_, stream) in sweep::STREAMS {
        for point in [
            "sequencer.stamping",
            "sequencer.stamped",
            "sequencer.leaving",
            "relay.published_one",
            "relay.published",
            "pruner.pruned",
        ] {
            assert!(has(point, stream), "no case for {point}/{stream}");
        }
    }
}

/// Claim: the points cost a shipped binary nothing and cannot be found in it. The build with them shows that the
/// search would find them.
#[tokio::test]
async fn a_shipped_binary_contains_no_crash_point() -> Result<()> {
    tests::build(Profile::Debug).await?;
    tests::build(Profile::Faults).await?;
    let mut names: BTreeSet<&str> = sweep::all().iter().map(|case| case.point).collect();
    names.extend([fault::ARMED, fault::Flaw::VARIABLE]);
    for service in ServiceName::ALL {
        let found = named_in(&Profile::Debug.binary(service.binary())?, &names).await?;
        ensure!(found.is_empty(), "{service} names {found:?}");
    }
    let mut found = BTreeSet::new();
    for service in ServiceName::ALL {
        let here = named_in(&Profile::Faults.binary(service.binary())?, &names).await?;
        for each in [fault::ARMED, fault::Flaw::VARIABLE, "business.committed"] {
            ensure!(here.contains(each), "{service} built with points does not name {each}");
        }
        found.extend(here);
    }
    assert_eq!(found, names.iter().map(|name| (*name).to_owned()).collect(), "each point is in some binary");
    Ok(())
}

/// Claim: building with points leaves the plain binaries as they are, at any moment: another process may be about to
/// start one, and none may wait for the other's build.
#[tokio::test]
async fn building_with_points_leaves_the_plain_binaries_alone() -> Result<()> {
    tests::build(Profile::Debug).await?;
    let plain = Profile::Debug.binary(ServiceName::User.binary())?;
    let link = || -> Result<_> {
        let found = fs::metadata(&plain).with_context(|| format!("reading {}", plain.display()))?;
        Ok((found.ino(), found.ctime(), found.ctime_nsec()))
    };
    let before = link()?;
    Profile::Faults.build(&testkit::PROGRAMS).await?;
    assert_eq!(link()?, before, "the plain binary was put elsewhere or replaced meanwhile");
    Ok(())
}

/// Which of the names are in a file.
async fn named_in(file: &Path, names: &BTreeSet<&str>) -> Result<BTreeSet<String>> {
    let mut grep = Command::from(testkit::tool("grep"));
    grep.args(["--text", "--only-matching", "--fixed-strings"]);
    grep.args(names.iter().flat_map(|name| ["-e", name])).arg("--").arg(file);
    let output = grep.output().await.context("running grep")?;
    // 1: nothing was found; 2: it could not be looked for.
    ensure!(output.status.code().is_some_and(|code| code < 2), "grep ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Claim: nobody ships the points by mistake.
#[tokio::test]
async fn a_release_build_with_points_does_not_compile() -> Result<()> {
    let mut command = Command::from(testkit::cargo());
    command.args([
        "check",
        "--release",
        "--package",
        "fault",
        "--features",
        "faults",
        "--message-format",
        "short",
    ]);
    let output = command.current_dir(state::workspace()).output().await.context("running cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it compiles");
    ensure!(said.contains("the feature `faults` is for tests"), "another error: {said}");
    Ok(())
}
