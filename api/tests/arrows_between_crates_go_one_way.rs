//! Who may know whom: `api ◄ {tenancy, scheduler-bridge, metering} ◄ operator`. The three in the middle do not know each
//! other, and what passes between them is a type of `api` or plain data.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// Each crate of ours, and all that it may depend on, for tests as well.
const MAY_KNOW: [(&str, &[&str]); 7] = [
    ("api", &[]),
    ("tenancy", &["api"]),
    ("scheduler-bridge", &["api"]),
    ("metering", &["api"]),
    ("operator", &["api", "tenancy", "scheduler-bridge", "metering"]),
    // The bridge's reader of #SBATCH lines, and `ledger verify`, which asks nobody.
    ("cli", &["api", "scheduler-bridge", "metering"]),
    // It runs the binaries as users do.
    ("e2e", &["api"]),
];

#[test]
fn arrows_between_crates_go_one_way() {
    let known = who_knows_whom();
    let crates: Vec<&str> = known.keys().map(String::as_str).collect();
    let mut listed = MAY_KNOW.map(|(name, _)| name);
    listed.sort_unstable();
    assert_eq!(
        crates, listed,
        "crates of the workspace without a place in this list, or places without a crate"
    );
    for (name, may_know) in MAY_KNOW {
        for other in &known[name] {
            assert!(
                may_know.contains(&other.as_str()),
                "{name}/Cargo.toml depends on {other}: carry what is needed through a type of api or as plain data, or \
                 let the operator carry it"
            );
        }
    }
}

/// The crates of the workspace and those of ours that each names in its Cargo.toml, as cargo reads it.
fn who_knows_whom() -> BTreeMap<String, Vec<String>> {
    let answer = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(answer.status.success(), "{answer:?}");
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    let ours = |package: &Value| {
        let name = package["name"].as_str().unwrap_or_default();
        name.strip_prefix("mesocentre-").map(ToOwned::to_owned)
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&answer["packages"])
        .iter()
        .map(|package| {
            let knows = list(&package["dependencies"]).iter().filter_map(ours).collect();
            (
                ours(package).unwrap_or_else(|| package["name"].to_string()),
                knows,
            )
        })
        .collect()
}
