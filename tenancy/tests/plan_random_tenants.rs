//! For random perimeters, tenants and workspaces: the plan is deterministic, everything in it is owned and inside the
//! tenant's own namespaces, no two objects collide, and planning over what was brought about changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what broke by panicking"
)]

use mesocentre_api::{Tenant, TrustPerimeter, Workspace, labels};
use mesocentre_tenancy::plan::{MADE_FOR, is_ours};
use mesocentre_tenancy::quota::{Amounts, Slice, plan_quota};
use mesocentre_tenancy::{
    NamespaceName, NamespacePlan, Now, Planned, TenantClaims, ValidTenant, ValidWorkspace, plan_home,
    plan_workspace,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Names that try to run into each other: few letters, many hyphens.
fn name() -> impl Strategy<Value = String> {
    "[ab](-?[ab1]){0,6}"
}

/// One datacentre.
#[derive(Clone, Debug)]
struct World {
    perimeter: TrustPerimeter,
    tenants: Vec<Tenant>,
    /// Of each tenant.
    workspaces: Vec<Vec<Workspace>>,
}

fn perimeter() -> impl Strategy<Value = TrustPerimeter> {
    (
        prop::collection::vec("[a-z]{1,8}", 1..4),
        any::<bool>(),
        prop::option::of(any::<bool>()),
        prop::collection::vec((any::<[u8; 4]>(), 0u8..=32, prop::collection::vec(1u16.., 0..3)), 0..4),
        prop::collection::vec("[a-z]{1,8}", 0..3),
        prop::sample::select(vec!["restricted", "baseline"]),
    )
        .prop_map(|(registries, digest, nodes, egress, classes, security)| {
            let egress: Vec<Value> = egress
                .into_iter()
                .map(|([a, b, c, d], bits, ports)| {
                    json!({
                        "cidr": format!("{a}.{b}.{c}.{d}/{bits}"),
                        "ports": ports.iter().map(|port| json!({"port": port, "protocol": "TCP"})).collect::<Vec<_>>(),
                        "reason": "chance",
                    })
                })
                .collect();
            let mut spec = json!({
                "displayName": "P", "classification": "Internal", "tenantCategories": ["University"],
                "podSecurity": security, "storageClasses": classes,
                "images": {
                    "registries": registries.iter().map(|r| format!("{r}.test/")).collect::<Vec<_>>(),
                    "requireDigest": digest,
                },
                "network": {"egress": egress},
            });
            if let Some(dedicated) = nodes {
                spec["nodes"] = json!({"dedicated": dedicated, "selector": {"mesocentre.io/perimeter": "p"}});
            }
            object(json!({"metadata": {"name": "p"}, "spec": spec}))
        })
}

fn object<K: serde::de::DeserializeOwned>(mut body: Value) -> K {
    // What `kube` derives wants both words, whatever they are.
    body["apiVersion"] = json!("mesocentre.io/v1alpha1");
    body["kind"] = json!(std::any::type_name::<K>().rsplit("::").next().unwrap());
    serde_json::from_value(body).unwrap()
}

fn tenant_spec() -> impl Strategy<Value = Value> {
    let role = prop::sample::select(vec!["Owner", "Member", "Viewer", "Billing"]);
    (
        prop::collection::btree_map(("[a-c]{1,2}", any::<bool>()), role, 0..6),
        (0u64..1000, 0u64..1000, 0u64..1000, 0i64..1000, 0i64..10),
    )
        .prop_map(|(members, (cpu, memory, storage, pods, gpus))| {
            let members: Vec<Value> = members
                .into_iter()
                .map(|((who, is_user), role)| json!({if is_user { "user" } else { "group" }: who, "role": role}))
                .collect();
            json!({
                "displayName": "T", "category": "University", "perimeter": "p",
                "legalEntity": {
                    "name": "T", "siret": "19141408500016",
                    "address": {"street": "1 rue", "postalCode": "14000", "city": "Caen", "countryCode": "FR"},
                    "invoicing": {"email": "factures@univ.test"},
                },
                "convention": {"reference": "C", "validFrom": "2026-01-01", "validUntil": "2030-12-31"},
                "members": members,
                "quota": {
                    "cpu": cpu.to_string(), "memory": format!("{memory}Gi"), "storage": format!("{storage}Gi"),
                    "pods": pods, "gpus": gpus, "workspaces": 50,
                },
            })
        })
}

fn world() -> impl Strategy<Value = World> {
    let tenants = prop::collection::btree_map(
        name(),
        (tenant_spec(), prop::collection::btree_set(name(), 0..4)),
        1..5,
    );
    (perimeter(), tenants).prop_map(|(perimeter, tenants)| {
        let mut world = World {
            perimeter,
            tenants: Vec::new(),
            workspaces: Vec::new(),
        };
        for (name, (spec, workspaces)) in tenants {
            let uid = format!("uid-of-{name}");
            world.tenants.push(object(
                json!({"metadata": {"name": name, "uid": uid}, "spec": spec}),
            ));
            let of_tenant = workspaces.into_iter().map(|workspace| {
                let uid = format!("uid-of-{name}/{workspace}");
                object(json!({
                    "metadata": {"name": workspace, "namespace": name, "uid": uid},
                    "spec": {"purpose": "chance"},
                }))
            });
            world.workspaces.push(of_tenant.collect());
        }
        world
    })
}

/// What stands, by kind, namespace and name.
type Standing = BTreeMap<(String, Option<String>, String), Value>;

impl World {
    fn valid(&self, tenant: &Tenant) -> ValidTenant {
        let claims = TenantClaims::of(&self.tenants);
        let now = Now {
            instant: "2026-11-25T12:00:00Z".parse().unwrap(),
            zone: jiff::tz::TimeZone::UTC,
        };
        ValidTenant::new(tenant, Some(&self.perimeter), &claims, &now).unwrap()
    }

    /// Everything planned for a tenant, over what stands: its home and its workspaces, with their shares of the quota.
    fn plan(&self, index: usize, standing: &Standing) -> Vec<NamespacePlan> {
        let tenant = self.valid(&self.tenants[index]);
        let workspaces: Vec<ValidWorkspace> = self.workspaces[index]
            .iter()
            .enumerate()
            .map(|(earlier, workspace)| ValidWorkspace::new(workspace, &tenant, earlier).unwrap())
            .collect();
        let slices: Vec<Slice> = workspaces
            .iter()
            .map(|workspace| slice(workspace.namespace(), standing))
            .collect();
        let shares: BTreeMap<NamespaceName, Amounts> =
            plan_quota(&tenant.quota, &slices).into_iter().collect();
        std::iter::once(plan_home(&tenant))
            .chain(
                workspaces
                    .iter()
                    .map(|workspace| plan_workspace(&tenant, workspace, &shares[&workspace.namespace()])),
            )
            .collect()
    }
}

/// A namespace's quota as it stands, in force.
fn slice(namespace: NamespaceName, standing: &Standing) -> Slice {
    let key = (
        "ResourceQuota".to_owned(),
        Some(namespace.to_string()),
        "tenant".to_owned(),
    );
    let hard = standing.get(&key).map(|quota| {
        let list = serde_json::from_value(quota["spec"]["hard"].clone()).unwrap();
        Amounts::of_resource_list(&list).unwrap()
    });
    Slice {
        namespace,
        spec_hard: hard.clone(),
        status_hard: hard,
        used: Amounts::default(),
        leaving: false,
    }
}

fn key(planned: &Planned) -> (String, Option<String>, String) {
    (
        planned.kind.clone(),
        planned.namespace.clone(),
        planned.name.clone(),
    )
}

/// Every name that an object gives rights to.
fn subjects(planned: &Planned) -> Vec<&str> {
    planned.body["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|subject| subject["name"].as_str())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_plan_is_the_same_each_time_and_in_whatever_order_members_are_written(world in world()) {
        let nothing = Standing::new();
        let mut mirrored = world.clone();
        mirrored.tenants.iter_mut().for_each(|tenant| tenant.spec.members.reverse());
        for index in 0..world.tenants.len() {
            let plan = world.plan(index, &nothing);
            prop_assert_eq!(&plan, &world.plan(index, &nothing));
            prop_assert_eq!(&plan, &mirrored.plan(index, &nothing));
        }
    }

    #[test]
    fn everything_planned_is_owned_and_stays_inside_the_tenants_own_namespaces(world in world()) {
        for (index, tenant) in world.tenants.iter().enumerate() {
            let name = tenant.metadata.name.as_deref().unwrap();
            let members: BTreeSet<&str> = tenant
                .spec
                .members
                .iter()
                .filter_map(|member| member.user.as_deref().or(member.group.as_deref()))
                .collect();
            for plan in world.plan(index, &Standing::new()) {
                let (owner, workspace) = NamespaceName::split(plan.namespace.as_str()).unwrap();
                prop_assert_eq!(owner.as_str(), name);
                let uid = match &workspace {
                    None => format!("uid-of-{name}"),
                    Some(workspace) => format!("uid-of-{name}/{workspace}"),
                };
                prop_assert!(is_ours(&plan.object.body, &uid), "{MADE_FOR} is another's");
                for planned in plan.all() {
                    let metadata = &planned.body["metadata"];
                    prop_assert_eq!(&metadata["labels"][labels::MANAGED_BY], labels::MANAGED_BY_VALUE);
                    prop_assert_eq!(&metadata["labels"][labels::TENANT], name);
                    prop_assert_eq!(&metadata["name"], planned.name.as_str());
                    match &planned.namespace {
                        None => prop_assert_eq!((&planned.kind[..], &planned.name[..]), ("Namespace", plan.namespace.as_str())),
                        Some(namespace) => {
                            prop_assert_eq!(namespace, plan.namespace.as_str());
                            prop_assert_eq!(&metadata["namespace"], namespace.as_str());
                        }
                    }
                    prop_assert!(subjects(planned).iter().all(|subject| members.contains(subject)));
                }
            }
        }
    }

    #[test]
    fn no_two_objects_of_a_datacentre_collide(world in world()) {
        let mut seen = BTreeSet::new();
        for index in 0..world.tenants.len() {
            for plan in world.plan(index, &Standing::new()) {
                for planned in plan.all() {
                    prop_assert!(seen.insert(key(planned)), "{:?} is planned twice", key(planned));
                }
            }
        }
    }

    #[test]
    fn planning_over_what_was_brought_about_changes_nothing(world in world()) {
        for index in 0..world.tenants.len() {
            let mut standing = Standing::new();
            let mut bring_about = |plans: Vec<NamespacePlan>| {
                let mut changed = 0;
                for planned in plans.iter().flat_map(NamespacePlan::all) {
                    changed += usize::from(standing.insert(key(planned), planned.body.clone()).as_ref() != Some(&planned.body));
                }
                (changed, standing.clone())
            };
            let (made, after_one) = bring_about(world.plan(index, &Standing::new()));
            prop_assert!(made > 0);
            let (changed, after_two) = bring_about(world.plan(index, &after_one));
            prop_assert_eq!(changed, 0);
            prop_assert_eq!(after_one, after_two);
        }
    }
}
