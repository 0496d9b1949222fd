//! The table of what the database can say is also the reference in the README.

use api::failure_table::markdown;
use events::StoreError;
use order_service::storage::FAILURES;
use testkit::Reference;
use types::Verdict;

/// The closed list of what parks an event. All else is waited out, so that nothing that an operator, a failover or a lack
/// of memory brings about parks an event that is about money.
const PARKING: [&str; 10] = ["21", "22", "23", "24", "25", "27", "40002", "42", "P0", "driver: Decode"];

#[test]
fn the_list_of_what_parks_an_event_is_closed() {
    assert_eq!(FAILURES.parking(), PARKING);
    let parks = |verdict: Verdict| {
        let error = StoreError::from(order_service::Error::from(verdict.failure("said")));
        matches!(error, StoreError::Permanent(_))
    };
    assert!(!parks(FAILURES.unlisted));
    for row in FAILURES.rows {
        assert_eq!(parks(row.verdict), row.verdict.parks_events(), "{}", row.said);
    }
}

#[test]
fn the_readme_has_the_table_that_decides() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    Reference::new(readme, "failure table").check(&markdown(&FAILURES)).unwrap();
}
