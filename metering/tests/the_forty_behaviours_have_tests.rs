//! Promise: the page that says which test shows which behaviour of a bill names tests that there are.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/billing-behaviours.md";
/// Where tests are.
const ROOMS: [&str; 6] = ["api", "cli", "e2e", "metering", "operator", "scheduler-bridge"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all functions below a folder.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let after = text.split("fn ").skip(1);
            names.extend(after.map(|rest| {
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect()
            }));
        }
    }
}

#[test]
fn every_behaviour_has_a_row_and_every_name_on_it_is_a_tests() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let mut there = BTreeSet::new();
    for room in ROOMS {
        for folder in ["src", "tests"].map(|folder| root().join(room).join(folder)) {
            if folder.exists() {
                functions(&folder, &mut there);
            }
        }
    }
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| |") && !line.starts_with("| ---"))
        .collect();
    assert_eq!(rows.len(), 40);
    for (place, row) in rows.iter().enumerate() {
        assert!(row.starts_with(&format!("| {} |", place + 1)), "{row}");
        let names: Vec<&str> = row
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| !name.contains('/'))
            .collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(
                there.contains(name),
                "{PAGE} names {name}, and there is no such test"
            );
        }
    }
}
