//! The page about labels is the table of labels.

use std::fs;
use std::path::Path;

use evenkeel::domain::labels::schema;

#[test]
fn the_page_about_labels_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/labels.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, schema::markdown()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == schema::markdown(),
        "docs/labels.md is old: run `UPDATE_DOCS=1 cargo test --test all labels`"
    );
}
