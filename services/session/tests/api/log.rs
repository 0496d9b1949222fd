//! What the log says of a call that failed.

use testkit::CapturedLog;
use tonic::Code;

use crate::harness::{Harness, refusal, refused};

#[tokio::test]
async fn a_fault_is_logged_once_with_its_cause() {
    let log = CapturedLog::start(|format| format);
    let harness = Harness::start().await;
    let (_, login) = harness.somebody().await;
    let key = harness.redis(&["KEYS", "*:access:*"]).await;
    harness.redis(&["SET", &key, "what no script writes"]).await;
    let status = harness.validate(&login.access_token).await.unwrap_err();
    assert_eq!(refusal(&status), refused(Code::Internal, "INTERNAL"));
    assert!(!status.message().contains("damaged"), "{}", status.message());

    let lines = log.lines_with("ERROR");
    let [line] = &lines[..] else { panic!("not one line: {lines:#?}") };
    assert!(line.contains("a damaged access token"), "{line}");
    assert_eq!(log.lines_with("a damaged access token").len(), 1);
}
