//! What is planned for the examples' tenants, object by object, as reviewers read it in `tests/golden/`.
//!
//! After a change that is meant: `UPDATE_GOLDEN=1 cargo test -p mesocentre-tenancy`, and read the difference.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what broke by panicking"
)]

mod examples;

use examples::{Examples, date};
use mesocentre_api::{IngressRule, PortRule, Protocol};
use mesocentre_tenancy::peering::{Peering, Side, plan_peering};
use mesocentre_tenancy::quota::{Slice, plan_quota};
use mesocentre_tenancy::{
    NamespacePlan, Planned, ValidTenant, ValidWorkspace, WorkspaceName, plan_home, plan_workspace,
};
use std::path::Path;

fn compare<'a>(name: &str, objects: impl IntoIterator<Item = &'a Planned>) {
    let mut yaml = String::new();
    for object in objects {
        yaml.push_str("---\n");
        yaml.push_str(&serde_yaml::to_string(&object.body).unwrap());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.yaml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &yaml).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        golden == yaml,
        "{} differs from what is planned; run again with UPDATE_GOLDEN=1 and read the difference:\n{yaml}",
        file.display()
    );
}

/// The plans of a tenant's workspaces, with the slices that new ones get.
fn workspaces(examples: &Examples, tenant: &ValidTenant) -> Vec<NamespacePlan> {
    let valid: Vec<ValidWorkspace> = examples
        .workspaces_of(tenant.name.as_str())
        .iter()
        .enumerate()
        .map(|(earlier, workspace)| ValidWorkspace::new(workspace, tenant, earlier).unwrap())
        .collect();
    let slices: Vec<Slice> = valid
        .iter()
        .map(|workspace| Slice {
            namespace: workspace.namespace(),
            spec_hard: None,
            status_hard: None,
            used: Default::default(),
            leaving: false,
        })
        .collect();
    let hard = plan_quota(&tenant.quota, &slices);
    valid
        .iter()
        .map(|workspace| {
            let slice = hard
                .iter()
                .find(|(namespace, _)| *namespace == workspace.namespace());
            plan_workspace(tenant, workspace, &slice.unwrap().1)
        })
        .collect()
}

#[test]
fn the_examples_tenants_get_these_objects() {
    let examples = Examples::read();
    for name in ["univ-caen", "chu-rouen"] {
        let tenant = examples.valid(name, date(2026, 11, 24)).unwrap();
        compare(name, plan_home(&tenant).all());
        for plan in workspaces(&examples, &tenant) {
            compare(plan.namespace.as_str(), plan.all());
        }
    }
}

#[test]
fn a_platforms_namespace_comes_in_by_its_name_and_a_tenants_never_by_this_rule() {
    let mut examples = Examples::read();
    let rules = [
        (
            "monitoring",
            vec![PortRule {
                port: 9090,
                protocol: Protocol::TCP,
            }],
        ),
        ("ingress", Vec::new()),
    ];
    for perimeter in &mut examples.perimeters {
        perimeter.spec.network.ingress_from = rules
            .iter()
            .map(|(namespace, ports)| IngressRule {
                namespace: (*namespace).into(),
                ports: ports.clone(),
                reason: "A test".into(),
            })
            .collect();
    }
    let tenant = examples.valid("univ-caen", date(2026, 11, 24)).unwrap();
    let home = plan_home(&tenant);
    compare(
        "univ-caen-with-the-platform",
        home.all().filter(|object| object.kind == "NetworkPolicy"),
    );
}

#[test]
fn the_examples_agreements_open_this_traffic_and_both_sides_plan_the_same() {
    let examples = Examples::read();
    let today = date(2026, 11, 24);
    let (caen, rouen) = (
        examples.valid("univ-caen", today).unwrap(),
        examples.valid("chu-rouen", today).unwrap(),
    );
    let names = |names: &[&str]| -> Vec<WorkspaceName> { names.iter().map(|n| n.parse().unwrap()).collect() };
    let (caens, rouens) = (names(&["climate", "genomics"]), names(&["cohort"]));
    let caen = Side {
        tenant: Some(Ok(&caen)),
        agreement: examples.agreement("univ-caen"),
        workspaces: &caens,
    };
    let rouen = Side {
        tenant: Some(Ok(&rouen)),
        agreement: examples.agreement("chu-rouen"),
        workspaces: &rouens,
    };
    let (Peering::Open { policies, .. }, Peering::Open { policies: theirs, .. }) =
        (plan_peering(caen, rouen, today), plan_peering(rouen, caen, today))
    else {
        panic!("the examples' agreements are closed");
    };
    assert_eq!(policies, theirs);
    compare("peering-genomics", &policies);
}

#[test]
fn planning_twice_gives_the_same_and_no_two_objects_share_a_name() {
    let examples = Examples::read();
    let tenant = examples.valid("univ-caen", date(2026, 11, 24)).unwrap();
    let plans = || -> Vec<NamespacePlan> {
        std::iter::once(plan_home(&tenant))
            .chain(workspaces(&examples, &tenant))
            .collect()
    };
    assert_eq!(plans(), plans());
    let mut names: Vec<_> = plans()
        .iter()
        .flat_map(NamespacePlan::all)
        .map(|o| (o.kind.clone(), o.namespace.clone(), o.name.clone()))
        .collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
