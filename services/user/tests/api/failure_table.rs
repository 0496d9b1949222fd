//! The table of what the database can say is also the reference in the README.

use api::failure_table::markdown;
use testkit::Reference;
use user_service::storage::FAILURES;

#[test]
fn the_readme_has_the_table_that_decides() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    Reference::new(readme, "failure table").check(&markdown(&FAILURES)).unwrap();
}
