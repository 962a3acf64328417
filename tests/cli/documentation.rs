//! The pages that are made from the table of settings.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::Path;

use evenkeel::config;

#[test]
fn the_pages_about_settings_say_what_the_table_says() {
    renew_or_compare("docs/configuration.md", &config::documentation());
    renew_or_compare("docs/evenkeel.example.toml", &config::example());
}

fn renew_or_compare(page: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "{page} is not what src/config/settings.rs says; renew it with \
         `UPDATE_DOCS=1 cargo test --test all documentation`"
    );
}
