//! The admin port of a whole process, in a binary of its own, because a signal is for all threads.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use auth::token::AccessToken;
use auth::{AuthLayer, PolicyTable, ServiceTokens, SessionVerifier, Verified, VerifyError};
use nix::sys::signal::Signal;
use runtime::admin::{HealthConfig, health};
use runtime::binary::block_on;
use runtime::config::{ServerConfig, TelemetryConfig};
use runtime::health::Readiness;
use runtime::server::{Core, Service, run};
use tokio::sync::Notify;
use tonic::service::Routes;

const WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
struct Nobody;

impl SessionVerifier for Nobody {
    async fn verify(&self, _: &AccessToken) -> Result<Verified, VerifyError> {
        Err(VerifyError::Invalid)
    }
}

/// What it answers to these bytes: everything until it closes the connection.
fn told(address: SocketAddr, asked: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.write_all(asked)?;
    let mut answer = Vec::new();
    // One that is cut off has said what it had to say.
    let _end = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn get(address: SocketAddr, path: &str) -> String {
    told(address, format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n").as_bytes()).unwrap_or_default()
}

/// Waits until it says so.
#[track_caller]
fn until(address: SocketAddr, path: &str, wanted: &str) {
    let end = Instant::now() + WITHIN;
    loop {
        let told = get(address, path);
        if told.contains(wanted) {
            return;
        }
        assert!(Instant::now() < end, "{path}: {told:?}, and not {wanted:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Claim: from before its start to after its last call a process says whether it is alive and why it does not serve; who
/// asks wrongly, too much or too slowly is told so, or cut off, and takes nothing from the others.
#[test]
fn a_process_tells_how_it_is_from_its_start_to_its_end() {
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = ServerConfig {
        threads: 2,
        admin_listen: Some(admin),
        drain_delay: Duration::from_secs(3),
        ..ServerConfig::for_tests()
    };
    let (may_start, is_well) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
    let (gate, well) = (Arc::clone(&may_start), Arc::clone(&is_well));
    let start = move |_: Core| {
        let (gate, well) = (Arc::clone(&gate), Arc::clone(&well));
        async move {
            gate.notified().await;
            let policies = PolicyTable::for_services(&["order.v1.CatalogService"])?;
            let auth = AuthLayer::new(policies, ServiceTokens::default(), Nobody);
            let ready = Readiness::new("a_database", move || {
                let is_well = well.load(Ordering::SeqCst);
                std::future::ready(if is_well { Ok(()) } else { Err("postgres://a:s3cret@h is away") })
            });
            anyhow::Ok(Service { routes: Routes::default(), auth, layers: Vec::new(), ready })
        }
    };
    let process =
        thread::spawn(move || run("test", config, TelemetryConfig::default(), "test.tristore", start));
    let ask = HealthConfig { listen: "0.0.0.0:1".parse().unwrap(), admin_listen: Some(admin) };

    until(admin, "/livez", "200 OK");
    until(admin, "/readyz", "503 Service Unavailable");
    assert!(get(admin, "/readyz").contains("it has not started yet"));
    let refused = block_on(health(&ask)).unwrap_err().to_string();
    assert!(refused.contains("not serving"), "{refused}");

    may_start.notify_one();
    until(admin, "/readyz", "503");
    may_start.notify_one();
    until(admin, "/readyz", "200 OK");
    block_on(health(&ask)).unwrap();

    asked_wrongly(admin);
    asked_slowly(admin);

    is_well.store(false, Ordering::SeqCst);
    until(admin, "/readyz", "postgres://a:***@h is away");
    is_well.store(true, Ordering::SeqCst);
    until(admin, "/readyz", "200 OK");

    nix::sys::signal::raise(Signal::SIGTERM).unwrap();
    until(admin, "/readyz", "the process is about to stop");
    assert!(get(admin, "/livez").contains("200 OK"));
    process.join().unwrap().unwrap();
    assert!(get(admin, "/livez").contains("200 OK"), "it is open until the process is gone");
}

fn asked_wrongly(admin: SocketAddr) {
    assert!(get(admin, "/nothing").contains("404 Not Found"));
    let posted = told(admin, b"POST /readyz HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").unwrap();
    assert!(posted.contains("405 Method Not Allowed") && posted.contains("allow: GET, HEAD"), "{posted}");
    let head = told(admin, b"HEAD /readyz HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert!(head.contains("200 OK") && head.ends_with("\r\n\r\n"), "{head}");
    let long = format!("GET /readyz HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(16 * 1024));
    let refused = told(admin, long.as_bytes()).unwrap();
    assert!(!refused.contains("200 OK"), "{refused}");
    let nonsense = told(admin, b"\x16\x03\x01 what is this\r\n\r\n").unwrap();
    assert!(!nonsense.contains("200 OK"), "{nonsense}");
    assert!(get(admin, "/readyz").contains("200 OK"));
}

/// More connections than there are places, which say nothing, or half of a question.
fn asked_slowly(admin: SocketAddr) {
    let stalled: Vec<TcpStream> = (0..64)
        .map(|number| {
            let mut stream = TcpStream::connect(admin).unwrap();
            if number % 2 == 0 {
                stream.write_all(b"GET /readyz HTT").unwrap();
            }
            stream
        })
        .collect();
    let began = Instant::now();
    assert!(get(admin, "/readyz").contains("200 OK"));
    assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
    drop(stalled);
}
