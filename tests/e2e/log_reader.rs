//! Whoever reads a service's standard error stalls, goes away, or has a full disk. That costs lines, and nothing else.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use api::order::v1::GetProductRequest;
use testkit::client::Api;
use testkit::{Launch, Service, ServiceName, serving, wait_until};
use tests::System;
use tests::people::Market;
use tokio::sync::oneshot;
use tonic::Request;

const SOON: Duration = Duration::from_secs(20);
/// The flush of the log may take a second of it.
const END_WITHIN: Duration = Duration::from_secs(10);
/// A pipe holds 64 KiB. A library that is asked for everything says more than that in a few calls.
const CHATTY: &str = "info,h2=trace";

/// A named pipe, which exists until its folder does not.
struct Pipe(PathBuf);

impl Pipe {
    fn make(beside: &Service) -> Result<Self> {
        let path = beside.log().path().with_file_name(format!("{}.pipe", uuid::Uuid::new_v4()));
        let made = testkit::tool("mkfifo").arg(&path).status().context("running mkfifo")?;
        ensure!(made.success(), "mkfifo failed");
        Ok(Self(path))
    }

    /// A reader, that does not read yet. Opened for both, it does not wait for a writer.
    fn reader(&self) -> Result<File> {
        Ok(OpenOptions::new().read(true).write(true).open(&self.0)?)
    }
}

/// Starts another process of the service, whose standard error is this file, and waits until it serves. Its standard
/// output stays in its log.
async fn logging_to(service: &Service, file: &Path, filter: &str) -> Result<Service> {
    let replica = service.replica_with(|launch| {
        redirect(launch, file);
        launch.env.push(("LOG_FILTER".to_owned(), filter.to_owned()));
    })?;
    replica.serving().await?;
    Ok(replica)
}

fn redirect(launch: &mut Launch, file: &Path) {
    let program = std::mem::replace(&mut launch.program, "/bin/sh".into());
    let line = r#"exec "$0" 2>>"$1""#;
    launch.args = vec!["-c".into(), line.into(), program.into(), file.into()];
}

/// Calls that each log a line: a header claims who calls.
async fn calls(system: &System, market: &Market, replica: &Service, count: usize) -> Result<()> {
    let url = |name| system.stack.services.get(name).url();
    let api = Api::new(&url(ServiceName::User), &replica.url(), &url(ServiceName::Session))?;
    let caller = api.bearer(&market.seller.access_token)?.within(Duration::from_secs(5));
    for number in 0..count {
        let mut request = Request::new(GetProductRequest { product_id: market.product_id.clone() });
        request.metadata_mut().insert("x-user-id", "somebody".parse()?);
        let answer = caller.catalog().get_product(request).await;
        answer.with_context(|| format!("call {number} of {count}"))?;
    }
    serving(&replica.url()).await
}

/// Reads on until a line is the last, and returns it. On a thread that nobody waits for: a line that never comes must
/// not keep the test from failing.
async fn read_until(
    reader: File,
    what: &str,
    mut is_last: impl FnMut(&str) -> bool + Send + 'static,
) -> Result<(File, String)> {
    let (found, line) = oneshot::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(reader);
        let mut line = String::new();
        loop {
            line.clear();
            if lines.read_line(&mut line).is_err() {
                return;
            }
            if is_last(&line) {
                break;
            }
        }
        let _given_up = found.send((lines.into_inner(), line));
    });
    tokio::time::timeout(SOON, line)
        .await
        .with_context(|| format!("no {what} in the log"))?
        .context("reading")
}

/// How many lines this one says were lost.
fn lost(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).ok()?["lost"].as_u64()
}

async fn ends_in_order(replica: &Service) -> Result<()> {
    let since = Instant::now();
    replica.process().terminate()?;
    let status = replica.process().ended(END_WITHIN).await?.context("it has ended")?;
    ensure!(status.success(), "it ended with {status} after {:?}", since.elapsed());
    let printed = replica.log().lines();
    ensure!(printed.is_empty(), "a service prints nothing on standard output: {printed:?}");
    Ok(())
}

/// Claim: while nobody reads the log, calls, health and the end go on; when it is read again, it tells how many lines
/// are missing.
#[tokio::test]
async fn a_log_that_nobody_reads_costs_lines_only() -> Result<()> {
    let system = System::shared().await?;
    let market = Market::open(&system, 0, 1).await?;
    let order = &system.stack.services.order;
    let pipe = Pipe::make(order)?;
    let reader = pipe.reader()?;
    let replica = logging_to(order, &pipe.0, CHATTY).await?;
    calls(&system, &market, &replica, 200).await?;

    let (reader, line) = read_until(reader, "line of lost ones", |line| lost(line).is_some()).await?;
    let told: serde_json::Value = serde_json::from_str(&line)?;
    ensure!(lost(&line).is_some_and(|lost| lost > 0), "{line}");
    ensure!(told["level"] == "WARN" && told["service"] == "order-service", "{line}");
    // The reader stalls again, until the end.
    calls(&system, &market, &replica, 50).await?;
    ends_in_order(&replica).await?;
    drop(reader);
    Ok(())
}

/// Claim: when the log's reader is gone, so are the lines; a new reader reads how many. The last of them may still wait
/// to be written when the new reader comes, so each call's line is either lost and counted, or read.
#[tokio::test]
async fn a_log_whose_reader_is_gone_costs_lines_only() -> Result<()> {
    let system = System::shared().await?;
    let market = Market::open(&system, 0, 1).await?;
    let order = &system.stack.services.order;
    let pipe = Pipe::make(order)?;
    let reader = pipe.reader()?;
    let replica = logging_to(order, &pipe.0, "info").await?;
    drop(reader);
    calls(&system, &market, &replica, 20).await?;

    let reader = pipe.reader()?;
    calls(&system, &market, &replica, 1).await?;
    let mut accounted = 0;
    let (reader, _last) = read_until(reader, "account of 21 lines", move |line| {
        accounted += lost(line).unwrap_or(1);
        accounted >= 21
    })
    .await?;
    drop(reader);
    calls(&system, &market, &replica, 1).await?;
    ends_in_order(&replica).await
}

/// Claim: a full disk keeps no service from starting, serving and ending, and leaves a failed start its exit code.
#[tokio::test]
async fn a_log_on_a_full_disk_costs_lines_only() -> Result<()> {
    let system = System::shared().await?;
    let market = Market::open(&system, 0, 1).await?;
    let full = Path::new("/dev/full");
    for name in ServiceName::ALL {
        let service = system.stack.services.get(name);
        let replica = logging_to(service, full, "debug").await.with_context(|| name.to_string())?;
        if name == ServiceName::Order {
            calls(&system, &market, &replica, 5).await?;
        }
        ends_in_order(&replica).await.with_context(|| name.to_string())?;

        let taken = service.address();
        let refused = service.replica_with(|launch| {
            redirect(launch, full);
            launch.env.push(("LISTEN".to_owned(), taken));
        })?;
        let status = refused.process().ended(SOON).await?.context("it has ended")?;
        ensure!(status.code() == Some(1), "{name} on a port that is taken: {status}");
    }
    Ok(())
}

/// Claim: a failure that is told while nobody reads ends the process all the same.
#[tokio::test]
async fn a_start_that_fails_ends_though_nobody_reads_why() -> Result<()> {
    let system = System::shared().await?;
    let session = &system.stack.services.session;
    let pipe = Pipe::make(session)?;
    let _reader = pipe.reader()?;
    let filled = testkit::tool("/bin/sh")
        .args(["-c", r#"head -c 65536 /dev/zero >"$0""#])
        .arg(&pipe.0)
        .status()
        .context("filling the pipe")?;
    ensure!(filled.success(), "the pipe takes less than 64 KiB");
    let refused = session.replica_with(|launch| {
        redirect(launch, &pipe.0);
        launch.env.push(("USER_URL".to_owned(), "nowhere".to_owned()));
    })?;
    let status =
        wait_until(SOON, "its end", async || refused.process().exit_status().ok_or("it runs")).await?;
    ensure!(status.code() == Some(2), "a setting that cannot be meant: {status}");
    Ok(())
}
