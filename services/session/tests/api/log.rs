//! What the log says of a call that failed.

use std::io;
use std::sync::{Arc, Mutex};

use tonic::Code;

use crate::harness::{Harness, refusal, refused};

/// The lines that were logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_fault_is_logged_once_with_its_cause() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let harness = Harness::start().await;
    let (_, login) = harness.somebody().await;
    let key = harness.redis(&["KEYS", "*:access:*"]).await;
    harness.redis(&["SET", &key, "what no script writes"]).await;
    let status = harness.validate(&login.access_token).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::Internal, "INTERNAL"));
    assert!(!status.message().contains("damaged"), "{}", status.message());

    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let of_the_fault: Vec<_> = logged
        .lines()
        .filter(|line| line.contains("\"ERROR\"") || line.contains("a damaged access token"))
        .collect();
    let [line] = of_the_fault[..] else { panic!("not one line: {of_the_fault:#?}") };
    assert!(line.contains("\"ERROR\"") && line.contains("a damaged access token"), "{line}");
}
