//! Promise: what a tenant gets in Vault is its own, whole, marked, and nothing of anybody else's is touched.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

use jiff::Timestamp;
use mesocentre_tenancy::vault::{
    Layout, Leftover, Mark, Plan, PosixAccount, Refusal, Seen, SeenMount, State, Step, Thing, Uid, VaultPath,
    Wanted, Wish, operator_policy, plan,
};
use mesocentre_tenancy::{NamespaceName, TenantName};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn uid(n: u32) -> Uid {
    Uid::new(&format!("0f4dd6a6-2bd5-4e0c-9d5f-{n:012x}")).unwrap()
}

fn layout() -> Layout {
    Layout {
        tenants: VaultPath::new("tenants").unwrap(),
        jwt: VaultPath::new("mesocentre").unwrap(),
        ssh: VaultPath::new("mesocentre-ssh").unwrap(),
        audience: "vault".into(),
        cluster: uid(0xc1),
    }
}

fn wanted(tenant: &str, n: u32) -> Wanted {
    let namespaces = [tenant.to_owned(), format!("{tenant}--lab")];
    Wanted {
        tenant: TenantName::new(tenant).unwrap(),
        uid: uid(n),
        namespaces: namespaces
            .iter()
            .map(|name| NamespaceName::new(name).unwrap())
            .collect(),
        accounts: ["bob", "alice"]
            .map(|account| PosixAccount::new(account).unwrap())
            .into(),
        kept_days: 90,
    }
}

fn wish(wanted: Vec<Wanted>) -> Wish {
    Wish {
        wanted,
        left_alone: Vec::new(),
    }
}

fn now() -> Timestamp {
    "2026-11-25T10:00:00Z".parse().unwrap()
}

/// A Vault that does what it is told: by path, what is there.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told(BTreeMap<String, Value>);

impl Told {
    fn seen(&self) -> Seen {
        let names = |folder: &str| -> BTreeSet<String> {
            let names = self.0.keys().filter_map(|path| path.strip_prefix(folder));
            names.map(ToOwned::to_owned).collect()
        };
        let mounts = self.0.iter().filter_map(|(path, body)| {
            let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
            let mount = SeenMount {
                engine: text(&body["type"])?,
                version: text(&body["options"]["version"]),
                description: text(&body["description"]).unwrap_or_default(),
            };
            Some((path.strip_prefix("sys/mounts/")?.to_owned(), mount))
        });
        Seen {
            mounts: mounts.collect(),
            policies: names("sys/policies/acl/"),
            jwt_roles: names("auth/mesocentre/role/"),
            ssh_roles: names("mesocentre-ssh/roles/"),
        }
    }

    fn mark(&mut self, path: &VaultPath, mark: &Mark) {
        self.0.entry(format!("sys/mounts/{path}")).or_default()["description"] = json!(mark.to_string());
    }

    /// As the operator does it; how many things were written or deleted.
    fn apply(&mut self, layout: &Layout, plan: &Plan) -> usize {
        let mut writes = 0;
        for leftover in &plan.leftovers {
            match leftover {
                Leftover::Door { thing, path } => {
                    if layout.is_ours(*thing, &self.0[path]) {
                        self.0.remove(path);
                        writes += 1;
                    }
                }
                Leftover::Seal { path, mark } => {
                    self.mark(path, mark);
                    writes += 1;
                }
                Leftover::Destroy { path, .. } => {
                    self.0.remove(&format!("sys/mounts/{path}"));
                    let below = format!("{path}/");
                    self.0.retain(|other, _| !other.starts_with(&below));
                    writes += 1;
                }
            }
        }
        for tenant in &plan.tenants {
            for step in &tenant.mounts {
                match step {
                    Step::Mount { path, body } => {
                        self.0.insert(format!("sys/mounts/{path}"), body.clone());
                    }
                    Step::Describe { path, mark } => self.mark(path, mark),
                }
                writes += 1;
            }
            for entry in &tenant.entries {
                let there = self.0.get(&entry.path);
                if there.is_some_and(|there| entry.is_met_by(there)) {
                    continue;
                }
                if let Some(there) = there
                    && entry.thing != Thing::Key
                    && !layout.is_ours(entry.thing, there)
                {
                    continue;
                }
                self.0.insert(entry.path.clone(), entry.body.clone());
                writes += 1;
            }
        }
        writes
    }

    fn settle(&mut self, wish: &Wish, now: Timestamp) {
        for _ in 0..4 {
            let plan = plan(&layout(), wish, &self.seen(), now);
            self.apply(&layout(), &plan);
        }
    }
}

#[test]
fn what_the_administrator_gives_the_operator_is_what_the_operator_needs() {
    let layout = layout();
    let text = operator_policy(&layout.tenants, &layout.jwt, &layout.ssh);
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../charts/mesocentre/files/vault/operator-policy.hcl"
    );
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(file).unwrap_or_default(),
        text,
        "run UPDATE_GOLDEN=1 cargo test -p mesocentre-tenancy"
    );
    assert!(!text.contains("sudo") && !text.contains("/data"), "{text}");
}

#[test]
fn all_of_a_tenants_part_of_vault() {
    let plan = plan(
        &layout(),
        &wish(vec![wanted("univ-caen", 1)]),
        &Seen::default(),
        now(),
    );
    let mut text = String::new();
    for tenant in &plan.tenants {
        for step in &tenant.mounts {
            if let Step::Mount { path, body } = step {
                text += &format!("sys/mounts/{path} {body:#}\n");
            }
        }
        for entry in &tenant.entries {
            match entry.body["policy"].as_str() {
                Some(policy) => text += &format!("{}\n{policy}\n", entry.path),
                None => text += &format!("{} {:#}\n", entry.path, entry.body),
            }
        }
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/vault-univ-caen.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(file).unwrap_or_default(),
        text,
        "run UPDATE_GOLDEN=1 cargo test -p mesocentre-tenancy"
    );
}

#[test]
fn when_a_tenant_ends_its_doors_go_at_once_and_its_data_when_they_were_kept_long_enough() {
    let mut vault = Told::default();
    let both = wish(vec![wanted("univ-caen", 1), wanted("chu-rouen", 2)]);
    vault.settle(&both, now());
    let one = wish(vec![wanted("chu-rouen", 2)]);
    let first = plan(&layout(), &one, &vault.seen(), now());
    vault.apply(&layout(), &first);
    let of_the_other = |path: &&String| path.contains("univ-caen");
    let left: Vec<&String> = vault.0.keys().filter(of_the_other).collect();
    assert_eq!(
        left,
        [
            "sys/mounts/tenants/univ-caen/kv",
            "sys/mounts/tenants/univ-caen/transit",
            "tenants/univ-caen/transit/keys/univ-caen",
        ],
        "its data and nothing else"
    );
    let day_before: Timestamp = "2027-02-22T10:00:00Z".parse().unwrap();
    let kept = vault.clone();
    vault.settle(&one, day_before);
    assert_eq!(vault, kept);
    vault.settle(&one, "2027-02-23T10:00:00Z".parse().unwrap());
    assert_eq!(vault.0.keys().filter(of_the_other).count(), 0);
    let mut fresh = Told::default();
    fresh.settle(&one, now());
    assert_eq!(vault, fresh, "and the other tenant's part is as it was");
}

#[test]
fn a_tenant_that_is_made_again_under_an_ended_ones_name_does_not_get_its_data() {
    let mut vault = Told::default();
    vault.settle(&wish(vec![wanted("univ-caen", 1)]), now());
    vault.settle(&Wish::default(), now());
    let again = wish(vec![wanted("univ-caen", 2)]);
    let planned = plan(&layout(), &again, &vault.seen(), now());
    assert!(planned.tenants.is_empty());
    let (_, refusal) = &planned.refused[0];
    assert_eq!(refusal.reason(), "Remains");
    assert!(refusal.to_string().contains("2027-02-23"), "{refusal}");
    vault.settle(&again, now());
    assert!(vault.seen().jwt_roles.is_empty(), "nobody logs in meanwhile");
    // The very same tenant, whose perimeter asks again: its data are whole.
    vault.settle(&wish(vec![wanted("univ-caen", 1)]), now());
    let mut fresh = Told::default();
    fresh.settle(&wish(vec![wanted("univ-caen", 1)]), now());
    assert_eq!(vault, fresh);
}

#[test]
fn a_tenant_of_which_nothing_can_be_told_is_left_as_it_is() {
    let mut vault = Told::default();
    vault.settle(&wish(vec![wanted("univ-caen", 1)]), now());
    let before = vault.clone();
    let unsure = Wish {
        wanted: Vec::new(),
        left_alone: vec![(TenantName::new("univ-caen").unwrap(), uid(1))],
    };
    vault.settle(&unsure, now());
    assert_eq!(vault, before);
}

#[test]
fn what_does_not_bear_this_clusters_mark_is_never_touched() {
    let mut theirs = Told::default();
    let other_cluster = Layout {
        cluster: uid(0xc2),
        ..layout()
    };
    let plan_of_another = plan(
        &other_cluster,
        &wish(vec![wanted("univ-caen", 1), wanted("chu-rouen", 2)]),
        &Seen::default(),
        now(),
    );
    theirs.apply(&other_cluster, &plan_of_another);
    let by_hand = [
        (
            "sys/mounts/tenants/insa/kv",
            json!({"type": "kv", "options": {"version": "2"}, "description": "by hand"}),
        ),
        (
            "sys/mounts/tenants/library",
            json!({"type": "kv", "description": "by hand"}),
        ),
        ("auth/mesocentre/role/insa", json!({"token_policies": ["x"]})),
        (
            "auth/mesocentre/role/mesocentre-operator",
            json!({"token_policies": ["mesocentre-operator"]}),
        ),
        ("mesocentre-ssh/roles/admins", json!({"key_id_format": ""})),
        ("sys/policies/acl/mesocentre-operator", json!({"policy": "x"})),
        (
            "sys/policies/acl/mesocentre-tenant--odd name",
            json!({"policy": "x"}),
        ),
    ];
    for (path, body) in by_hand {
        theirs.0.insert(path.into(), body);
    }
    let before = theirs.clone();
    let ours = wish(vec![wanted("univ-caen", 3), wanted("insa", 4)]);
    let planned = plan(&layout(), &ours, &theirs.seen(), now());
    let reasons: Vec<&str> = planned
        .refused
        .iter()
        .map(|(_, refusal)| refusal.reason())
        .collect();
    assert_eq!(reasons, ["Taken", "Taken"]);
    let Refusal::MountTaken { mark, .. } = &planned.refused[1].1 else {
        panic!("{:?}", planned.refused);
    };
    assert!(planned.refused[1].1.to_string().contains(mark.as_ref()));
    theirs.settle(&ours, now());
    theirs.settle(&Wish::default(), "2099-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(theirs, before);
}

#[test]
fn a_mark_that_was_copied_to_another_mount_makes_it_nobodys() {
    let mark = Mark {
        tenant: TenantName::new("univ-caen").unwrap(),
        uid: uid(1),
        cluster: uid(0xc1),
        state: State::SealedOff {
            since: now(),
            destroy: now(),
        },
    };
    let mut vault = Told::default();
    vault.0.insert(
        "sys/mounts/library".into(),
        json!({"type": "kv", "description": mark.to_string()}),
    );
    let before = vault.clone();
    vault.settle(&Wish::default(), now());
    assert_eq!(vault, before);
}

fn tenants() -> impl Strategy<Value = Vec<Wanted>> {
    let one = (
        "[a-z]([a-z0-9]|-[a-z0-9]){0,3}",
        1_u32..9,
        0_i64..3,
        any::<bool>(),
    );
    prop::collection::btree_map("[a-z](-[a-z0-9]){0,2}", one, 0..5).prop_map(|tenants| {
        let mut n = 0;
        let wanted = tenants
            .into_iter()
            .map(|(name, (workspace, _, kept_days, people))| {
                n += 1;
                let mut wanted = wanted(&name, n);
                wanted
                    .namespaces
                    .insert(NamespaceName::new(&format!("{name}--{workspace}")).unwrap());
                wanted.kept_days = kept_days;
                if !people {
                    wanted.accounts.clear();
                }
                wanted
            });
        wanted.collect()
    })
}

proptest! {
    #[test]
    fn whatever_stood_before_two_looks_bring_about_what_is_wanted_and_a_third_changes_nothing(
        before in tenants(), after in tenants(), lost in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut vault = Told::default();
        vault.settle(&wish(before), now());
        // Somebody takes away some of it.
        for index in lost {
            if !vault.0.is_empty() {
                let path = index.get(&vault.0.keys().cloned().collect::<Vec<_>>()).clone();
                vault.0.remove(&path);
            }
        }
        let wish = wish(after);
        vault.settle(&wish, now());
        let planned = plan(&layout(), &wish, &vault.seen(), now());
        prop_assert_eq!(vault.apply(&layout(), &planned), 0, "quiet: {:?}", planned);
        for tenant in &planned.tenants {
            let policy = tenant.entries.iter().find(|entry| entry.thing == Thing::Policy);
            for line in policy.iter().filter_map(|entry| entry.body["policy"].as_str()).flat_map(str::lines) {
                if let Some(path) = line.strip_prefix("path \"") {
                    let own = format!("tenants/{}/", tenant.wanted.tenant);
                    prop_assert!(path.starts_with(&own), "{}", path);
                }
            }
            let role = tenant.entries.iter().find(|entry| entry.thing == Thing::JwtRole);
            prop_assert!(role.is_some());
            for namespace in role.iter().flat_map(|entry| entry.body["bound_claims"]["/kubernetes.io/namespace"].as_array()).flatten() {
                let (owner, _) = NamespaceName::split(namespace.as_str().unwrap()).unwrap();
                prop_assert_eq!(&owner, &tenant.wanted.tenant);
            }
        }
    }
}
