//! Promise: Slurm's accounts, limits and associations become what is desired, whatever they were, and nothing of
//! others' is touched. On a cluster of its own in the development stack's slurmdbd, so that no operator takes part.

#![allow(clippy::unwrap_used, clippy::panic)] // A test may end itself.

mod cluster;

use cluster::{administrator, config, user};
use mesocentre_scheduler_bridge::slurm::accounts::{AllocationAccount, DesiredAccounts, Limits, Plan, plan};
use mesocentre_scheduler_bridge::slurm::{Slurm, SlurmConfig};
use mesocentre_scheduler_bridge::{AccountName, ClusterName};

/// A cluster that only slurmdbd knows of; gone at the end, however the test ends.
struct OwnCluster(String);

impl OwnCluster {
    fn new() -> Self {
        let name = format!("bridge{}", std::process::id());
        administrator(&["sacctmgr", "-i", "add", "cluster", &name]);
        Self(name)
    }

    fn slurm(&self) -> Slurm {
        Slurm::new(SlurmConfig {
            cluster: ClusterName::new(&self.0).unwrap(),
            ..config()
        })
        .unwrap()
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        administrator(&["sacctmgr", "-i", "delete", "cluster", &format!("name={}", self.0)]);
    }
}

fn account(name: &str) -> AccountName {
    AccountName::new(name).unwrap()
}

fn desired(allocations: &[(&str, &str, Option<u64>, &[&str])]) -> DesiredAccounts {
    let mut desired = DesiredAccounts::default();
    for (tenant, name, core_minutes, members) in allocations {
        desired.tenants.entry(account(tenant)).or_default().insert(
            account(&format!("{tenant}.{name}")),
            AllocationAccount {
                limits: Limits {
                    core_minutes: *core_minutes,
                    ..Limits::default()
                },
                qualities: None,
                members: members.iter().map(|name| user(name)).collect(),
            },
        );
    }
    desired
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn from_nothing_to_more_to_less_to_nothing() {
    let own = OwnCluster::new();
    let slurm = own.slurm();
    let cluster = format!("cluster={}", own.0);
    administrator(&[
        "sacctmgr",
        "-i",
        "add",
        "account",
        "bridge-site",
        &cluster,
        "description=the site's own",
    ]);
    administrator(&[
        "sacctmgr",
        "-i",
        "add",
        "user",
        "alice",
        "account=bridge-site",
        &cluster,
    ]);
    let others = || {
        administrator(&[
            "sacctmgr",
            "-nP",
            "show",
            "assoc",
            "where",
            &cluster,
            "account=bridge-site",
        ])
    };
    let before = others();

    let steps = [
        desired(&[
            ("bt", "a", Some(600), &["alice", "bob"]),
            ("bt", "b", None, &["carol"]),
            ("bu", "c", Some(60), &["bob"]),
        ]),
        desired(&[
            ("bt", "a", Some(1200), &["bob", "dave"]),
            ("bt", "b", Some(5), &["carol", "alice"]),
        ]),
        desired(&[("bt", "a", None, &["bob"]), ("bu", "c", Some(60), &["alice"])]),
        DesiredAccounts::default(),
    ];
    for desired in steps {
        let (conflicts, failed) = slurm.keep_accounts(&desired).await.unwrap();
        assert_eq!((conflicts, failed), (vec![], vec![]));
        let actual = slurm.accounts().await.unwrap();
        assert_eq!(
            plan(&desired, &actual),
            Plan::default(),
            "a second time changes nothing"
        );
        let members: usize = desired
            .tenants
            .values()
            .flat_map(|tenant| tenant.values())
            .map(|a| a.members.len())
            .sum();
        assert_eq!(actual.members.len(), members);
        for (name, allocation) in desired.tenants.values().flatten() {
            assert_eq!(actual.accounts[name].limits, allocation.limits, "{name}");
        }
        assert_eq!(others(), before);
    }

    let taken = desired(&[("bridge-site", "x", None, &["bob"])]);
    let (conflicts, failed) = slurm.keep_accounts(&taken).await.unwrap();
    assert_eq!((conflicts.len(), failed.len()), (1, 0));
    assert!(conflicts[0].why.contains("was not made by Mesocentre"));
    assert_eq!(others(), before);
    administrator(&[
        "sacctmgr",
        "-i",
        "delete",
        "account",
        "name=bridge-site",
        &cluster,
    ]);
}

#[tokio::test]
#[ignore = "needs the development stack: cargo dev test runs it"]
async fn what_an_account_has_used_is_told_once_slurmctld_knows_it() {
    let slurm = cluster::slurm();
    let known = cluster::account();
    let all = slurm
        .account_use(&[known.clone(), account("bridge-unknown")])
        .await
        .unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[&known].limits, Limits::default());
}
