//! The chart's CRDs are generated: a stale one would enforce yesterday's rules.

use std::path::Path;

#[test]
fn the_chart_carries_the_crds_of_these_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/mesocentre/crds");
    let mut expected: Vec<String> = Vec::new();
    for crd in mesocentre_api::crds::all() {
        let name = format!("{}.yaml", crd.spec.names.plural);
        let written = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            written == serde_yaml::to_string(&crd).unwrap(),
            "{name} is stale: run `cargo dev generate` and commit what it writes"
        );
        expected.push(name);
    }
    let mut found: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(
        found, expected,
        "files in charts/mesocentre/crds that no type makes, or types without a file"
    );
}

#[test]
fn every_field_explains_itself() {
    fn walk(path: &str, schema: &serde_json::Value, missing: &mut Vec<String>) {
        if let Some(properties) = schema["properties"].as_object() {
            for (name, property) in properties {
                let here = format!("{path}.{name}");
                if property["description"].as_str().is_none_or(str::is_empty) {
                    missing.push(here.clone());
                }
                walk(&here, property, missing);
                walk(&here, &property["items"], missing);
            }
        }
    }
    let mut missing = Vec::new();
    for crd in mesocentre_api::crds::all() {
        let value = serde_json::to_value(&crd).unwrap();
        let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        walk(&crd.spec.names.kind, schema, &mut missing);
    }
    assert!(
        missing.is_empty(),
        "kubectl explain would be silent on {missing:?}"
    );
}
