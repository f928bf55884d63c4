//! What a tenant or a workspace is refused for, and with which sentence.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what broke by panicking"
)]

mod examples;

use examples::{Examples, date};
use mesocentre_api::{ConventionKind, Role, ServiceAccountName, TenantMember, TenantStatus};
use mesocentre_tenancy::{Invalid, ValidWorkspace};

/// The reasons, and all sentences in one text.
fn refused(result: Result<mesocentre_tenancy::ValidTenant, Vec<Invalid>>) -> (Vec<&'static str>, String) {
    let wrong = result.err().unwrap_or_default();
    let sentences: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    (wrong.iter().map(Invalid::reason).collect(), sentences.join("\n"))
}

#[test]
fn every_example_is_valid_today() {
    let examples = Examples::read();
    for tenant in &examples.tenants {
        let name = tenant.metadata.name.as_deref().unwrap();
        assert!(examples.valid(name, date(2026, 11, 24)).is_ok(), "{name}");
    }
}

#[test]
fn an_unknown_perimeter_is_named() {
    let examples = Examples::read();
    let mut tenant = examples.tenant("univ-caen").clone();
    tenant.spec.perimeter = "atlantis".into();
    let (reasons, sentence) = refused(examples.validate(&tenant, date(2026, 11, 24)));
    assert_eq!(reasons, ["UnknownPerimeter"]);
    assert!(sentence.contains("atlantis, which does not exist"), "{sentence}");
}

#[test]
fn a_category_that_the_perimeter_does_not_admit_is_refused_with_those_it_does() {
    let examples = Examples::read();
    let mut tenant = examples.tenant("univ-caen").clone();
    tenant.spec.perimeter = "co-invested".into();
    let (reasons, sentence) = refused(examples.validate(&tenant, date(2026, 11, 24)));
    assert_eq!(reasons, ["CategoryNotAdmitted"]);
    assert!(
        sentence.contains("co-invested admits PrivateClient"),
        "{sentence}"
    );
}

#[test]
fn a_convention_counts_from_its_first_day_to_its_last() {
    let examples = Examples::read();
    let on = |year, month, day| refused(examples.valid("chu-rouen", date(year, month, day))).0;
    assert_eq!(on(2026, 2, 28), ["ConventionNotBegun"]);
    assert!(on(2026, 3, 1).is_empty());
    assert!(on(2027, 2, 28).is_empty());
    // Afterwards it is suspended, which is no fault of what is written.
    assert!(on(2027, 3, 1).is_empty());
    let suspended = |day| examples.valid("chu-rouen", day).unwrap().suspension;
    assert_eq!(suspended(date(2027, 2, 28)), None);
    assert_eq!(suspended(date(2027, 3, 1)).unwrap().reason(), "ConventionEnded");
}

#[test]
fn a_private_client_without_co_investment_is_refused() {
    let examples = Examples::read();
    let mut tenant = examples.tenant("nova-motors").clone();
    tenant.spec.convention.kind = Some(ConventionKind::Service);
    let (reasons, sentence) = refused(examples.validate(&tenant, date(2026, 11, 24)));
    assert_eq!(reasons, ["CoInvestmentRequired"]);
    assert!(sentence.contains("kind: CoInvestment"), "{sentence}");
}

#[test]
fn the_first_to_ask_keeps_a_posix_account_and_the_second_is_told_whose_it_is() {
    let mut examples = Examples::read();
    for (index, seconds) in [(0, 200), (1, 100)] {
        examples.tenants[index].metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                jiff::Timestamp::from_second(seconds).unwrap(),
            ));
    }
    // univ-caen (created later) writes bob's line with carol's account, which is chu-rouen's.
    examples.tenants[0].spec.members[1].posix_account = Some("carol".into());
    let today = date(2026, 11, 24);
    assert!(examples.valid("chu-rouen", today).is_ok());
    let (reasons, sentence) = refused(examples.valid("univ-caen", today));
    assert_eq!(reasons, ["PosixAccountTaken"]);
    assert!(
        sentence.contains("carol of bob in univ-caen is taken by carol in chu-rouen"),
        "{sentence}"
    );
}

#[test]
fn who_holds_a_hostname_keeps_it_and_those_who_ask_come_by_age() {
    let mut examples = Examples::read();
    let today = date(2026, 11, 24);
    for (index, seconds) in [(0, 100), (1, 200)] {
        examples.tenants[index].metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                jiff::Timestamp::from_second(seconds).unwrap(),
            ));
    }
    let overlapping = [
        ("www.a.test", "www.a.test"),
        ("*.a.test", "www.a.test"),
        ("*.a.test", "deep.www.a.test"),
        ("*.a.test", "*.b.a.test"),
        ("*.b.a.test", "*.a.test"),
    ];
    for (one, other) in overlapping {
        examples.tenants[0].spec.hostnames = vec![one.into()];
        examples.tenants[1].spec.hostnames = vec![other.into()];
        examples.tenants[0].status = None;
        examples.tenants[1].status = None;
        assert!(examples.valid("univ-caen", today).is_ok(), "{one} {other}");
        let (reasons, sentence) = refused(examples.valid("chu-rouen", today));
        assert_eq!(reasons, ["HostnameTaken"], "{one} {other}");
        assert!(sentence.contains("univ-caen holds"), "{sentence}");
        // The younger has it already.
        examples.tenants[1].status = Some(TenantStatus {
            hostnames: vec![other.into()],
            ..Default::default()
        });
        let holder = examples.valid("chu-rouen", today).unwrap();
        assert_eq!(holder.hostnames, [other]);
        let (reasons, sentence) = refused(examples.valid("univ-caen", today));
        assert_eq!(reasons, ["HostnameTaken"], "{one} {other}");
        assert!(
            sentence.contains(&format!("chu-rouen holds {other}")),
            "{sentence}"
        );
        // What is asked for and not written down yet is in no rule.
        examples.tenants[1].status = None;
        assert!(examples.valid("univ-caen", today).unwrap().hostnames.is_empty());
    }
    for (one, other) in [
        ("www.a.test", "a.test"),
        ("*.a.test", "a.test"),
        ("*.a.test", "www.ba.test"),
        ("*.b.a.test", "www.a.test"),
        ("www.a.test", "*.www.a.test"),
    ] {
        examples.tenants[0].spec.hostnames = vec![one.into()];
        examples.tenants[1].spec.hostnames = vec![other.into()];
        assert!(examples.valid("chu-rouen", today).is_ok(), "{one} {other}");
    }
}

#[test]
fn a_perimeter_that_is_going_away_keeps_those_inside_and_takes_nobody_new() {
    let mut examples = Examples::read();
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH);
    examples.perimeters[0].metadata.deletion_timestamp = Some(now);
    let today = date(2026, 11, 24);
    assert_eq!(
        refused(examples.valid("univ-caen", today)).0,
        ["PerimeterLeaving"]
    );
    examples.tenants[0].status = Some(TenantStatus {
        home_namespace: Some("univ-caen".into()),
        ..Default::default()
    });
    assert!(examples.valid("univ-caen", today).is_ok());
}

#[test]
fn two_members_of_one_tenant_do_not_share_a_posix_account() {
    let mut examples = Examples::read();
    examples.tenants[0].spec.members[1].posix_account = Some("alice".into());
    let (reasons, _) = refused(examples.valid("univ-caen", date(2026, 11, 24)));
    assert_eq!(reasons, ["PosixAccountTaken"]);
}

#[test]
fn a_service_account_is_the_tenants_own_and_has_no_more_than_who_may_use_it() {
    let mut examples = Examples::read();
    let today = date(2026, 11, 24);
    let mut with = |namespace: &str, role: Role| {
        let members = &mut examples.tenants[0].spec.members;
        members.truncate(3);
        members.push(TenantMember {
            user: None,
            group: None,
            service_account: Some(ServiceAccountName {
                namespace: namespace.into(),
                name: "deployer".into(),
            }),
            role,
            posix_account: None,
        });
        refused(examples.valid("univ-caen", today))
    };
    for role in Role::ALL {
        assert!(with("univ-caen-ci", role).0.is_empty(), "{role:?}");
        for foreign in [
            "chu-rouen",
            "chu-rouen--cohort",
            "univ-caen",
            "nobody--lab",
            "univ-caen-ci--x",
            "kube-system",
            "mesocentre-system",
            "default",
        ] {
            assert_eq!(with(foreign, role).0, ["ForeignServiceAccount"], "{foreign}");
        }
    }
    assert!(with("univ-caen--climate", Role::Member).0.is_empty());
    assert!(with("univ-caen--climate", Role::Viewer).0.is_empty());
    for role in [Role::Owner, Role::Billing] {
        let (reasons, sentence) = with("univ-caen--climate", role);
        assert_eq!(reasons, ["ServiceAccountTooMighty"]);
        assert!(
            sentence.contains("every Member may run pods under it"),
            "{sentence}"
        );
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let mut examples = Examples::read();
    let spec = &mut examples.tenants[0].spec;
    spec.legal_entity.siret = "19141408500017".into();
    spec.quota.memory.0 = "lots".into();
    spec.members.push(spec.members[0].clone());
    let (reasons, sentences) = refused(examples.valid("univ-caen", date(2026, 11, 24)));
    assert_eq!(reasons, ["BadSiret", "DuplicateMember", "BadQuota"]);
    assert!(
        sentences.contains("\"lots\" is not a Kubernetes quantity"),
        "{sentences}"
    );
}

#[test]
fn a_workspace_is_in_its_tenants_home_namespace_and_within_their_number() {
    let examples = Examples::read();
    let tenant = examples.valid("nova-motors", date(2026, 11, 24)).unwrap();
    let cfd = examples.workspaces_of("nova-motors")[0];
    assert!(ValidWorkspace::new(cfd, &tenant, 2).is_ok());
    assert_eq!(
        ValidWorkspace::new(cfd, &tenant, 3).unwrap_err().reason(),
        "TooManyWorkspaces"
    );
    let climate = examples.workspaces_of("univ-caen")[0];
    assert_eq!(
        ValidWorkspace::new(climate, &tenant, 0).unwrap_err().reason(),
        "NotInHomeNamespace"
    );
}
