//! The table of what the database can say is also the reference in the README.

use api::failure_table::markdown;
use session_service::FAILURES;
use testkit::Reference;

fn reference() -> Reference {
    Reference::new(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"), "failure table")
}

#[test]
fn the_readme_has_the_table_that_decides() {
    let how = "cargo test -p session-service --test api -- --ignored failure_table";
    reference().assert_is(&markdown(&FAILURES), how).unwrap();
}

#[test]
#[ignore = "writes the README"]
fn write_the_failure_table() {
    reference().write(&markdown(&FAILURES)).unwrap();
}
