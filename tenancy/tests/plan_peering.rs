//! When traffic between two tenants is open, and what is said while it is not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what broke by panicking"
)]

mod examples;

use examples::{Examples, date};
use jiff::civil::Date;
use mesocentre_api::{PeeringAgreement, PeeringSource};
use mesocentre_tenancy::peering::{Peering, Side, plan_peering};
use mesocentre_tenancy::{ValidTenant, WorkspaceName};

/// chu-rouen exposes, univ-caen uses.
struct Case {
    caen: ValidTenant,
    rouen: ValidTenant,
    caens: Option<PeeringAgreement>,
    rouens: Option<PeeringAgreement>,
    today: Date,
}

impl Case {
    fn new() -> Self {
        let examples = Examples::read();
        let today = date(2026, 11, 24);
        Self {
            caen: examples.valid("univ-caen", today).unwrap(),
            rouen: examples.valid("chu-rouen", today).unwrap(),
            caens: examples.agreement("univ-caen").cloned(),
            rouens: examples.agreement("chu-rouen").cloned(),
            today,
        }
    }

    fn plan(&self) -> Peering {
        let names =
            |names: &[&str]| -> Vec<WorkspaceName> { names.iter().map(|n| n.parse().unwrap()).collect() };
        let ours = Side {
            tenant: Some(Ok(&self.caen)),
            agreement: self.caens.as_ref(),
            workspaces: &names(&["climate", "genomics"]),
        };
        let theirs = Side {
            tenant: Some(Ok(&self.rouen)),
            agreement: self.rouens.as_ref(),
            workspaces: &names(&["cohort"]),
        };
        plan_peering(ours, theirs, self.today)
    }

    fn closed(&self) -> (&'static str, String) {
        match self.plan() {
            Peering::Closed { reason, message } => (reason, message),
            Peering::Open { message, .. } => panic!("{message}"),
        }
    }

    fn open(&self) -> Vec<String> {
        match self.plan() {
            Peering::Open { policies, .. } => policies
                .iter()
                .map(|p| format!("{}/{}", p.namespace.as_ref().unwrap(), p.name))
                .collect(),
            Peering::Closed { message, .. } => panic!("{message}"),
        }
    }
}

#[test]
fn both_consents_open_it_between_the_named_workspaces_only() {
    assert_eq!(
        Case::new().open(),
        [
            "chu-rouen--cohort/peering-genomics-in-0",
            "univ-caen--genomics/peering-genomics-out"
        ]
    );
}

#[test]
fn no_workspace_named_means_all_of_them() {
    let mut case = Case::new();
    case.caens.as_mut().unwrap().spec.from.clear();
    assert_eq!(case.open().len(), 3);
}

#[test]
fn one_consent_is_none() {
    let mut case = Case::new();
    case.rouens = None;
    let (reason, message) = case.closed();
    assert_eq!(reason, "NoConsent");
    assert!(
        message.contains("PeeringAgreement named genomics in chu-rouen with: univ-caen"),
        "{message}"
    );
}

#[test]
fn a_consent_to_somebody_else_is_none() {
    let mut case = Case::new();
    case.rouens.as_mut().unwrap().spec.with = "nova-motors".into();
    assert_eq!(case.closed().0, "NoConsent");
}

#[test]
fn it_closes_after_the_earlier_of_the_two_last_days() {
    let mut case = Case::new();
    case.rouens.as_mut().unwrap().spec.valid_until = case.today;
    assert_eq!(case.open().len(), 2);
    case.today = date(2026, 11, 25);
    let (reason, message) = case.closed();
    assert_eq!(reason, "Expired");
    assert!(message.contains("of chu-rouen ended on 2026-11-24"), "{message}");
}

#[test]
fn each_perimeter_must_be_willing() {
    let mut case = Case::new();
    case.rouen.perimeter.rules.peers_with.clear();
    let (reason, message) = case.closed();
    assert_eq!(reason, "PerimeterRefuses");
    assert!(
        message.contains("health-hds of chu-rouen does not peer with open-research"),
        "{message}"
    );
    let mut case = Case::new();
    case.caen.perimeter.rules.peers_with.clear();
    assert_eq!(case.closed().0, "PerimeterRefuses");
}

#[test]
fn a_workspace_that_does_not_exist_is_named() {
    let mut case = Case::new();
    case.caens.as_mut().unwrap().spec.from = vec![PeeringSource {
        workspace: "genomic".into(),
    }];
    let (reason, message) = case.closed();
    assert_eq!(reason, "UnknownWorkspace");
    assert!(
        message.contains("univ-caen has no workspace genomic"),
        "{message}"
    );
}

#[test]
fn what_is_exposed_to_a_tenant_without_workspaces_is_open_to_nobody() {
    let mut case = Case::new();
    case.caens.as_mut().unwrap().spec.from.clear();
    let rouen = Side {
        tenant: Some(Ok(&case.rouen)),
        agreement: case.rouens.as_ref(),
        workspaces: &["cohort".parse().unwrap()],
    };
    let caen = Side {
        tenant: Some(Ok(&case.caen)),
        agreement: case.caens.as_ref(),
        workspaces: &[],
    };
    let Peering::Open { policies, .. } = plan_peering(rouen, caen, case.today) else {
        panic!("both consent");
    };
    assert_eq!(policies, [], "a policy that names no source admits all");
}
