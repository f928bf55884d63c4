//! A role binding to a role that the chart does not carry would give nobody anything, silently; a role that the
//! operator may not bind would stop it.

#![allow(clippy::unwrap_used, clippy::panic)] // A test may end itself.

mod examples;

use examples::{Examples, date};
use mesocentre_tenancy::{ValidWorkspace, plan_home, plan_workspace};
use std::path::Path;

#[test]
fn every_role_that_is_bound_is_in_the_chart_and_the_operator_may_bind_it() {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/mesocentre/templates");
    let read = |file: &str| std::fs::read_to_string(templates.join(file)).unwrap();
    let (roles, rights) = (read("tenant-roles.yaml"), read("operator-rights.yaml"));

    let examples = Examples::read();
    let mut tenant = examples.valid("univ-caen", date(2026, 11, 24)).unwrap();
    tenant.members = mesocentre_api::Role::ALL
        .map(|role| mesocentre_tenancy::ValidMember {
            subject: mesocentre_tenancy::validate::MemberSubject::Group {
                name: "everybody".into(),
            },
            role,
        })
        .to_vec();
    let mut workspace = ValidWorkspace::new(examples.workspaces_of("univ-caen")[0], &tenant, 0).unwrap();
    workspace.batch_jobs_may_read_secrets = true;
    let plans = [
        plan_home(&tenant),
        plan_workspace(&tenant, &workspace, &Default::default()),
    ];
    let mut bound = 0;
    for binding in plans
        .iter()
        .flat_map(|plan| plan.all())
        .filter(|o| o.kind == "RoleBinding")
    {
        let role = binding.body["roleRef"]["name"].as_str().unwrap();
        assert!(
            roles.contains(&format!("  name: {role}\n")) || rights.contains(&format!("  name: {role}\n")),
            "{role} is in neither of the files"
        );
        assert!(
            rights.contains(&format!("  - {role}\n")),
            "the operator may not bind {role}"
        );
        bound += 1;
    }
    assert_eq!(
        bound, 8,
        "four roles at home, three in a workspace, and the operator's own there"
    );
}

/// The operator reads no Secret of a workspace whose owner did not say so.
#[test]
fn without_the_owners_word_nothing_is_bound_to_the_operator() {
    let examples = Examples::read();
    let tenant = examples.valid("univ-caen", date(2026, 11, 24)).unwrap();
    let workspace = ValidWorkspace::new(examples.workspaces_of("univ-caen")[0], &tenant, 0).unwrap();
    assert!(!workspace.batch_jobs_may_read_secrets, "off unless it is written");
    let plan = plan_workspace(&tenant, &workspace, &Default::default());
    let all = format!("{plan:?}");
    assert!(
        !all.contains("reads-sources") && !all.contains("mesocentre-system"),
        "{all}"
    );
}

/// A file that the record leaves out would hold policies that nobody puts back.
#[test]
fn the_chart_records_every_file_of_its_admission_policies() {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/mesocentre/templates");
    let record = std::fs::read_to_string(templates.join("_admission.tpl")).unwrap();
    let line = record
        .lines()
        .find(|line| line.contains("$file := list"))
        .unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(templates.join("admission")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            line.contains(&format!("\"{name}\"")),
            "templates/admission/{name}.yaml is not in the list of _admission.tpl: write it there"
        );
        files += 1;
    }
    assert_eq!(
        line.matches('"').count(),
        2 * files,
        "_admission.tpl lists a file that is not there"
    );
}

/// What the auditor may ask for, each of its requests must be a dry run: else something of it would be done.
#[test]
fn whatever_the_auditor_has_a_right_to_write_is_held_to_dry_runs() {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/mesocentre/templates");
    let read = |file: &str| std::fs::read_to_string(templates.join(file)).unwrap();
    let listed = |text: &str, after: &str| -> Vec<String> {
        let (_, list) = text.split_once(after).unwrap();
        let (list, _) = list.split_once(']').unwrap();
        list.split(',')
            .map(|one| one.trim().trim_matches('"').to_owned())
            .collect()
    };
    let named = |group: &[String], resources: Vec<String>| -> Vec<String> {
        resources
            .into_iter()
            .map(|resource| format!("{}/{resource}", group.join("")))
            .collect()
    };
    let account = read("auditor-account.yaml");
    let (_, role) = account.split_once("kind: ClusterRole\n").unwrap();
    let (role, _) = role.split_once("\n---").unwrap();
    let granted: std::collections::BTreeSet<String> = role
        .split("- apiGroups: [")
        .skip(1)
        .flat_map(|rule| {
            let rule = format!("[{rule}");
            named(&listed(&rule, "["), listed(&rule, "resources: ["))
        })
        .collect();
    let held: std::collections::BTreeSet<String> = read("admission/auditor.yaml")
        .lines()
        .filter(|line| line.contains("- {apiGroups: ["))
        .flat_map(|line| named(&listed(line, "apiGroups: ["), listed(line, "resources: [")))
        .collect();
    assert!(granted.len() > 8, "{granted:?}");
    assert_eq!(granted, held);
}
