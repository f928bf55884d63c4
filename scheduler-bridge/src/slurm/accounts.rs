//! Slurm accounts, kept by difference: what should be and what is in, the changes out. Pure; `sacctmgr.rs` reads what
//! is and makes the changes.
//!
//! ```text
//!  root ─┬─ univ-caen                    "mesocentre:tenant"
//!        │     └─ univ-caen.climate-2026 "mesocentre:allocation"  GrpTRESMins=cpu=3000000
//!        │            │                                          QOS=normal,urgent DefaultQOS=normal
//!        │            ├─ alice   (association)
//!        │            └─ bob
//!        └─ whatever the site has of its own: never touched
//! ```
//!
//! An account is ours when its description says so; an association is ours when its account is. A desired account that
//! exists and is not ours is never adopted: it is a [`Conflict`]. Removing an account or an association marks it
//! deleted in slurmdbd; what was used stays in the accounting.

use crate::{AccountName, QosName, UserName};
use std::collections::{BTreeMap, BTreeSet};

/// What a description of ours begins with.
const MARK: &str = "mesocentre:";
/// Description of a tenant's account.
pub(super) const TENANT: &str = "mesocentre:tenant";
/// Description of an allocation's account.
pub(super) const ALLOCATION: &str = "mesocentre:allocation";
/// The account above all others.
const ROOT: &str = "root";

/// What may be used in an account in all, in minutes; none is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limits {
    /// Core minutes, `GrpTRESMins=cpu`: core hours × 60.
    pub core_minutes: Option<u64>,
    /// GPU minutes, `GrpTRESMins=gres/gpu`. Only kept where Slurm tracks GPUs (`AccountingStorageTRES`).
    pub gpu_minutes: Option<u64>,
    /// Whether nothing new is taken and nothing that waits is started: `GrpSubmitJobs=0` and `GrpJobs=0`. What runs, runs
    /// on; members stay, since Slurm removes none whose jobs run.
    pub closed: bool,
}

/// What should be: each tenant's account, and under it an account for each allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredAccounts {
    /// By the tenant's account.
    pub tenants: BTreeMap<AccountName, BTreeMap<AccountName, AllocationAccount>>,
}

/// An allocation's account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllocationAccount {
    /// What may be used.
    pub limits: Limits,
    /// What its jobs may ask for; what the tenant's account has, which is the site's to say, when absent.
    pub qualities: Option<Qualities>,
    /// Who may submit: posix accounts.
    pub members: BTreeSet<UserName>,
}

/// The qualities of service that jobs in an account may ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Qualities {
    /// That of a job that asks for none.
    pub default: QosName,
    /// All of them, the default too.
    pub names: BTreeSet<QosName>,
}

/// The same as Slurm tells it, of accounts of any origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActualQualities {
    /// That of a job that asks for none; none where nobody set one.
    pub default: Option<String>,
    /// All of them.
    pub names: BTreeSet<String>,
}

impl From<&Qualities> for ActualQualities {
    fn from(qualities: &Qualities) -> Self {
        Self {
            default: Some(qualities.default.to_string()),
            names: qualities.names.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActualAccounts {
    /// All accounts of the cluster, ours and others'.
    pub accounts: BTreeMap<AccountName, ActualAccount>,
    /// Associations of persons with accounts of ours.
    pub members: BTreeSet<(AccountName, UserName)>,
    /// The default account of each person on this cluster: an association that is it cannot be removed before another
    /// takes its place.
    pub default_accounts: BTreeMap<UserName, AccountName>,
    /// Every account that a person is associated with, ours and others'.
    pub accounts_of: BTreeMap<UserName, BTreeSet<AccountName>>,
    /// Whether Slurm counts GPUs.
    pub tracks_gpus: bool,
}

/// An account of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActualAccount {
    /// The account above it; none when it is known to slurmdbd but has no place on this cluster.
    pub parent: Option<AccountName>,
    /// Whether its description carries our mark.
    pub ours: bool,
    /// Its limits.
    pub limits: Limits,
    /// What its jobs may ask for, by itself or by the account above.
    pub qualities: ActualQualities,
}

impl ActualAccount {
    /// Whether a description is one of ours.
    pub fn is_ours(description: &str) -> bool {
        description.starts_with(MARK)
    }
}

/// One change, as few calls as can be: what is alike is changed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds tenants' accounts under root.
    AddTenants {
        /// Their names.
        accounts: Vec<AccountName>,
    },
    /// Adds allocations' accounts under a tenant's.
    AddAllocations {
        /// The tenant's account.
        tenant: AccountName,
        /// Their names.
        accounts: Vec<AccountName>,
        /// Their limits, all the same.
        limits: Limits,
    },
    /// Sets the limits of accounts.
    SetLimits {
        /// Their names.
        accounts: Vec<AccountName>,
        /// Their limits, all the same.
        limits: Limits,
        /// Whether a limit on GPUs can be set, or taken away, at all.
        tracks_gpus: bool,
        /// Whether they were closed and are open again. What else a site limits by numbers of jobs is left alone.
        reopens: bool,
    },
    /// Sets what jobs in accounts may ask for.
    SetQualities {
        /// Their names.
        accounts: Vec<AccountName>,
        /// All the same; what the account above has when absent.
        qualities: Option<Qualities>,
    },
    /// Associates persons with accounts, each with each.
    AddMembers {
        /// The accounts.
        accounts: Vec<AccountName>,
        /// The persons.
        users: Vec<UserName>,
    },
    /// Makes another account a person's default, so that an association can be removed.
    SetDefaultAccount {
        /// The person.
        user: UserName,
        /// The account.
        account: AccountName,
    },
    /// Removes associations of persons with an account.
    RemoveMembers {
        /// The account.
        account: AccountName,
        /// The persons.
        users: Vec<UserName>,
    },
    /// Removes accounts that have neither members nor accounts under them any more.
    RemoveAccounts {
        /// Their names.
        accounts: Vec<AccountName>,
    },
}

/// A desired account that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its name.
    pub account: AccountName,
    /// Why, and who mends it.
    pub why: String,
}

/// The changes, in the order in which they must be made, and what cannot be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub changes: Vec<Change>,
    /// Accounts that somebody else has.
    pub conflicts: Vec<Conflict>,
}

/// What has to change. `desired` is everything that should be on this cluster: what is ours and not in it goes.
pub fn plan(desired: &DesiredAccounts, actual: &ActualAccounts) -> Plan {
    let mut plan = Plan::default();
    let mut wanted_accounts: BTreeSet<&AccountName> = BTreeSet::new();
    let mut wanted_members: BTreeSet<(&AccountName, &UserName)> = BTreeSet::new();
    let mut add_tenants = Vec::new();
    let mut add_allocations: BTreeMap<(&AccountName, Limits), Vec<AccountName>> = BTreeMap::new();
    let mut set_limits: BTreeMap<(Limits, bool), Vec<AccountName>> = BTreeMap::new();
    let mut set_qualities: BTreeMap<Option<&Qualities>, Vec<AccountName>> = BTreeMap::new();
    // Accounts that come anew, or again after their place on the cluster was lost, have no members yet.
    let mut remade: BTreeSet<&AccountName> = BTreeSet::new();

    for (tenant, allocations) in &desired.tenants {
        match place(tenant, ROOT, actual) {
            Place::Taken(why) => {
                plan.conflicts.push(Conflict {
                    account: tenant.clone(),
                    why,
                });
                continue;
            }
            Place::Absent => add_tenants.push(tenant.clone()),
            Place::There(_) => {}
        }
        wanted_accounts.insert(tenant);
        // A new one has what root has; that shows at the next look.
        let above = actual.accounts.get(tenant).map(|there| &there.qualities);
        for (account, allocation) in allocations {
            let limits = kept(allocation.limits, actual.tracks_gpus);
            let mut qualities = above;
            match place(account, tenant.as_str(), actual) {
                Place::Taken(why) => {
                    plan.conflicts.push(Conflict {
                        account: account.clone(),
                        why,
                    });
                    continue;
                }
                Place::Absent => {
                    remade.insert(account);
                    add_allocations
                        .entry((tenant, limits))
                        .or_default()
                        .push(account.clone());
                }
                Place::There(there) => {
                    qualities = Some(&there.qualities);
                    if kept(there.limits, actual.tracks_gpus) != limits {
                        let reopens = there.limits.closed && !limits.closed;
                        set_limits
                            .entry((limits, reopens))
                            .or_default()
                            .push(account.clone());
                    }
                }
            }
            let wanted = allocation.qualities.as_ref();
            let as_wanted = match wanted {
                Some(wanted) => qualities == Some(&ActualQualities::from(wanted)),
                None => qualities == above,
            };
            if !as_wanted {
                set_qualities.entry(wanted).or_default().push(account.clone());
            }
            wanted_accounts.insert(account);
            wanted_members.extend(allocation.members.iter().map(|user| (account, user)));
        }
    }

    if !add_tenants.is_empty() {
        plan.changes.push(Change::AddTenants {
            accounts: add_tenants,
        });
    }
    for ((tenant, limits), accounts) in add_allocations {
        plan.changes.push(Change::AddAllocations {
            tenant: tenant.clone(),
            accounts,
            limits,
        });
    }
    for ((limits, reopens), accounts) in set_limits {
        plan.changes.push(Change::SetLimits {
            accounts,
            limits,
            tracks_gpus: actual.tracks_gpus,
            reopens,
        });
    }
    plan.changes.extend(
        set_qualities
            .into_iter()
            .map(|(qualities, accounts)| Change::SetQualities {
                accounts,
                qualities: qualities.cloned(),
            }),
    );
    plan.changes.extend(add_members(&wanted_members, &remade, actual));
    let removed_members = removed_members(&wanted_members, actual);
    plan.changes
        .extend(remove_members(&removed_members, &wanted_members, actual));
    plan.changes.extend(remove_accounts(&wanted_accounts, actual));
    plan
}

/// Limits that Slurm can hold here.
fn kept(limits: Limits, tracks_gpus: bool) -> Limits {
    Limits {
        gpu_minutes: limits.gpu_minutes.filter(|_| tracks_gpus),
        ..limits
    }
}

enum Place<'a> {
    Absent,
    There(&'a ActualAccount),
    Taken(String),
}

fn place<'a>(account: &AccountName, parent: &str, actual: &'a ActualAccounts) -> Place<'a> {
    match actual.accounts.get(account) {
        None => Place::Absent,
        Some(there) if !there.ours => Place::Taken(format!(
            "the Slurm account {account} exists and was not made by Mesocentre: rename the tenant or allocation, or have \
             the account's administrator remove it"
        )),
        Some(there) => match &there.parent {
            None => Place::Absent,
            Some(above) if above.as_str() == parent => Place::There(there),
            Some(above) => Place::Taken(format!(
                "the Slurm account {account} has been moved under {above}: have an administrator move it back under \
                 {parent} (sacctmgr modify account {account} set parent={parent})"
            )),
        },
    }
}

/// Persons who miss the same accounts are associated together.
fn add_members(
    wanted: &BTreeSet<(&AccountName, &UserName)>,
    remade: &BTreeSet<&AccountName>,
    actual: &ActualAccounts,
) -> Vec<Change> {
    let mut missing: BTreeMap<&UserName, Vec<AccountName>> = BTreeMap::new();
    for (account, user) in wanted {
        if remade.contains(account) || !actual.members.contains(&((*account).clone(), (*user).clone())) {
            missing.entry(user).or_default().push((*account).clone());
        }
    }
    let mut together: BTreeMap<Vec<AccountName>, Vec<UserName>> = BTreeMap::new();
    for (user, accounts) in missing {
        together.entry(accounts).or_default().push(user.clone());
    }
    together
        .into_iter()
        .map(|(accounts, users)| Change::AddMembers { accounts, users })
        .collect()
}

fn removed_members<'a>(
    wanted: &BTreeSet<(&AccountName, &UserName)>,
    actual: &'a ActualAccounts,
) -> BTreeMap<&'a AccountName, Vec<&'a UserName>> {
    let mut removed: BTreeMap<&AccountName, Vec<&UserName>> = BTreeMap::new();
    for (account, user) in &actual.members {
        let ours = actual.accounts.get(account).is_some_and(|account| account.ours);
        if ours && !wanted.contains(&(account, user)) {
            removed.entry(account).or_default().push(user);
        }
    }
    removed
}

/// A person's default account goes last: another that stays takes its place first.
fn remove_members(
    removed: &BTreeMap<&AccountName, Vec<&UserName>>,
    wanted: &BTreeSet<(&AccountName, &UserName)>,
    actual: &ActualAccounts,
) -> Vec<Change> {
    let mut changes = Vec::new();
    // Persons who keep no account at all lose their default account in the last call about them.
    let mut last_calls: BTreeMap<&AccountName, Vec<UserName>> = BTreeMap::new();
    let mut first_calls: BTreeMap<&AccountName, Vec<UserName>> = BTreeMap::new();
    for (account, users) in removed {
        for user in users {
            if actual.default_accounts.get(*user) != Some(*account) {
                first_calls.entry(account).or_default().push((*user).clone());
                continue;
            }
            let stays = |candidate: &&AccountName| {
                removed
                    .get(*candidate)
                    .is_none_or(|leaving| !leaving.contains(user))
            };
            let theirs = actual.accounts_of.get(*user).into_iter().flatten();
            let new_ones = wanted
                .iter()
                .filter(|(_, wanted)| wanted == user)
                .map(|(account, _)| *account);
            match theirs.chain(new_ones).find(stays) {
                Some(other) => {
                    changes.push(Change::SetDefaultAccount {
                        user: (*user).clone(),
                        account: other.clone(),
                    });
                    first_calls.entry(account).or_default().push((*user).clone());
                }
                None => last_calls.entry(account).or_default().push((*user).clone()),
            }
        }
    }
    for (account, users) in first_calls.into_iter().chain(last_calls) {
        changes.push(Change::RemoveMembers {
            account: account.clone(),
            users,
        });
    }
    changes
}

/// Allocations first, tenants after them; a tenant that somebody hung an account of their own under stays.
fn remove_accounts(wanted: &BTreeSet<&AccountName>, actual: &ActualAccounts) -> Vec<Change> {
    let leaving: BTreeSet<&AccountName> = actual
        .accounts
        .iter()
        // Without a place on this cluster there is nothing to remove; another cluster may use it.
        .filter(|(name, account)| account.ours && account.parent.is_some() && !wanted.contains(name))
        .map(|(name, _)| name)
        .collect();
    let children = |name: &AccountName| {
        actual
            .accounts
            .iter()
            .filter(|(_, account)| account.parent.as_ref() == Some(name))
            .map(|(child, _)| child)
            .collect::<Vec<_>>()
    };
    let (leaves, parents): (Vec<&AccountName>, Vec<&AccountName>) =
        leaving.iter().partition(|name| children(name).is_empty());
    let parents = parents
        .into_iter()
        .filter(|name| children(name).iter().all(|child| leaving.contains(child)));
    let named =
        |accounts: Vec<AccountName>| (!accounts.is_empty()).then_some(Change::RemoveAccounts { accounts });
    named(leaves.into_iter().cloned().collect())
        .into_iter()
        .chain(named(parents.cloned().collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(name: &str) -> AccountName {
        AccountName::new(name).unwrap()
    }

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    /// Slurm, as far as these changes are concerned; refuses what sacctmgr refuses.
    fn apply(changes: &[Change], actual: &mut ActualAccounts) {
        for change in changes {
            match change {
                Change::AddTenants { accounts } => {
                    for name in accounts {
                        let made = ActualAccount {
                            parent: Some(account(ROOT)),
                            ours: true,
                            ..ActualAccount::default()
                        };
                        actual.accounts.insert(name.clone(), made);
                    }
                }
                Change::AddAllocations {
                    tenant,
                    accounts,
                    limits,
                } => {
                    assert!(actual.accounts[tenant].ours);
                    for name in accounts {
                        let made = ActualAccount {
                            parent: Some(tenant.clone()),
                            ours: true,
                            limits: *limits,
                            qualities: actual.accounts[tenant].qualities.clone(),
                        };
                        actual.accounts.insert(name.clone(), made);
                    }
                }
                Change::SetLimits {
                    accounts,
                    limits,
                    reopens,
                    ..
                } => {
                    for name in accounts {
                        let account = actual.accounts.get_mut(name).unwrap();
                        assert!(account.ours);
                        // As sacctmgr does: what is not said stays.
                        let closed = limits.closed || account.limits.closed && !reopens;
                        account.limits = Limits { closed, ..*limits };
                    }
                }
                Change::SetQualities { accounts, qualities } => {
                    for name in accounts {
                        let parent = actual.accounts[name].parent.clone().unwrap();
                        let above = actual.accounts[&parent].qualities.clone();
                        let there = actual.accounts.get_mut(name).unwrap();
                        assert!(there.ours);
                        there.qualities = qualities.as_ref().map_or(above, ActualQualities::from);
                    }
                }
                Change::AddMembers { accounts, users } => {
                    for (name, user) in accounts
                        .iter()
                        .flat_map(|name| users.iter().map(move |user| (name, user)))
                    {
                        assert!(actual.accounts[name].ours);
                        actual.members.insert((name.clone(), user.clone()));
                        actual
                            .accounts_of
                            .entry(user.clone())
                            .or_default()
                            .insert(name.clone());
                        actual
                            .default_accounts
                            .entry(user.clone())
                            .or_insert_with(|| name.clone());
                    }
                }
                Change::SetDefaultAccount { user, account } => {
                    assert!(actual.accounts_of[user].contains(account));
                    actual.default_accounts.insert(user.clone(), account.clone());
                }
                Change::RemoveMembers { account, users } => {
                    assert!(actual.accounts[account].ours);
                    for user in users {
                        let theirs = actual.accounts_of.get_mut(user).unwrap();
                        theirs.remove(account);
                        let last = theirs.is_empty();
                        assert!(
                            last || actual.default_accounts[user] != *account,
                            "a default account cannot go"
                        );
                        if last {
                            actual.default_accounts.remove(user);
                        }
                        assert!(actual.members.remove(&(account.clone(), user.clone())));
                    }
                }
                Change::RemoveAccounts { accounts } => {
                    for name in accounts {
                        let removed = actual.accounts.get_mut(name).unwrap();
                        assert!(removed.ours);
                        // Slurm keeps the account and forgets its place.
                        *removed = ActualAccount {
                            ours: true,
                            ..ActualAccount::default()
                        };
                        assert!(!actual.members.iter().any(|(account, _)| account == name));
                        assert!(
                            !actual
                                .accounts
                                .values()
                                .any(|other| other.parent.as_ref() == Some(name))
                        );
                    }
                }
            }
        }
    }

    fn site() -> ActualAccounts {
        let mut actual = ActualAccounts {
            tracks_gpus: true,
            ..ActualAccounts::default()
        };
        for (name, parent) in [
            ("root", None),
            ("physics", Some("root")),
            ("univ-caen.theirs", Some("physics")),
        ] {
            let there = ActualAccount {
                parent: parent.map(account),
                ..ActualAccount::default()
            };
            actual.accounts.insert(account(name), there);
        }
        actual
            .accounts_of
            .insert(user("alice"), [account("physics")].into());
        actual.default_accounts.insert(user("alice"), account("physics"));
        actual
    }

    /// An allocation's account, core minutes and members.
    type Wanted<'a> = (&'a str, Option<u64>, &'a [&'a str]);

    fn desired(tenants: &[(&str, &[Wanted<'_>])]) -> DesiredAccounts {
        let tenants = tenants
            .iter()
            .map(|(tenant, allocations)| {
                let allocations = allocations
                    .iter()
                    .map(|(name, core_minutes, members)| {
                        let limits = Limits {
                            core_minutes: *core_minutes,
                            ..Limits::default()
                        };
                        let members = members.iter().map(|name| user(name)).collect();
                        let there = AllocationAccount {
                            limits,
                            members,
                            qualities: None,
                        };
                        (account(name), there)
                    })
                    .collect();
                (account(tenant), allocations)
            })
            .collect();
        DesiredAccounts { tenants }
    }

    #[test]
    fn from_nothing_each_kind_of_change_is_one_call() {
        let desired = desired(&[
            (
                "univ-caen",
                &[
                    ("univ-caen.a", Some(60), &["alice", "bob"]),
                    ("univ-caen.b", Some(60), &["alice", "bob"]),
                ],
            ),
            ("nova", &[("nova.c", None, &["carol"])]),
        ]);
        let plan = plan(&desired, &site());
        assert_eq!(plan.changes.len(), 5, "{:?}", plan.changes);
        assert_eq!(plan.conflicts, []);
    }

    #[test]
    fn an_account_that_is_not_ours_is_never_adopted_nor_touched() {
        let mut actual = site();
        let before = actual.clone();
        let wanted = desired(&[
            ("physics", &[("physics.x", None, &["alice"])]),
            ("univ-caen", &[("univ-caen.theirs", Some(1), &["bob"])]),
        ]);
        let plan_made = plan(&wanted, &actual);
        assert_eq!(plan_made.conflicts.len(), 2);
        apply(&plan_made.changes, &mut actual);
        for (name, account) in &before.accounts {
            assert_eq!(actual.accounts.get(name), Some(account));
        }
        apply(&plan(&DesiredAccounts::default(), &actual).changes, &mut actual);
        actual.accounts.retain(|_, account| !account.ours);
        assert_eq!(actual.accounts, before.accounts);
        assert_eq!(actual.default_accounts, before.default_accounts);
    }

    #[test]
    fn a_default_account_is_replaced_before_its_association_goes() {
        let mut actual = site();
        apply(
            &plan(
                &desired(&[("t", &[("t.a", None, &["bob"]), ("t.b", None, &["bob"])])]),
                &actual,
            )
            .changes,
            &mut actual,
        );
        assert_eq!(actual.default_accounts[&user("bob")], account("t.a"));
        let less = plan(
            &desired(&[("t", &[("t.a", None, &[]), ("t.b", None, &["bob"])])]),
            &actual,
        );
        assert_eq!(
            less.changes,
            [
                Change::SetDefaultAccount {
                    user: user("bob"),
                    account: account("t.b")
                },
                Change::RemoveMembers {
                    account: account("t.a"),
                    users: vec![user("bob")]
                },
            ]
        );
    }

    #[test]
    fn a_gpu_limit_is_left_out_where_slurm_counts_no_gpus() {
        let mut wanted = desired(&[("t", &[("t.a", Some(60), &[])])]);
        wanted
            .tenants
            .get_mut(&account("t"))
            .unwrap()
            .get_mut(&account("t.a"))
            .unwrap()
            .limits
            .gpu_minutes = Some(0);
        let mut actual = ActualAccounts {
            tracks_gpus: false,
            ..site()
        };
        apply(&plan(&wanted, &actual).changes, &mut actual);
        assert_eq!(
            actual.accounts[&account("t.a")].limits,
            Limits {
                core_minutes: Some(60),
                ..Limits::default()
            }
        );
        assert_eq!(plan(&wanted, &actual), Plan::default());
    }

    fn any_desired() -> impl Strategy<Value = DesiredAccounts> {
        let members = proptest::collection::btree_set("[a-d]", 0..4);
        let qualities = proptest::option::of(("[q-s]", proptest::collection::btree_set("[q-s]", 0..3)));
        let allocation = (
            proptest::option::of(0_u64..3),
            proptest::bool::ANY,
            qualities,
            members,
        );
        let allocations = proptest::collection::btree_map("[x-z]", allocation, 0..3);
        proptest::collection::btree_map("[t-v]", allocations, 0..3).prop_map(|tenants| DesiredAccounts {
            tenants: tenants
                .into_iter()
                .map(|(tenant, allocations)| {
                    let of_tenant =
                        allocations
                            .into_iter()
                            .map(|(name, (core_minutes, closed, qualities, members))| {
                                let limits = Limits {
                                    core_minutes,
                                    closed,
                                    ..Limits::default()
                                };
                                let qualities = qualities.map(|(default, mut names)| {
                                    names.insert(default.clone());
                                    Qualities {
                                        default: QosName::new(&default).unwrap(),
                                        names: names.iter().map(|name| QosName::new(name).unwrap()).collect(),
                                    }
                                });
                                let members = members.iter().map(|name| user(name)).collect();
                                (
                                    account(&format!("{tenant}.{name}")),
                                    AllocationAccount {
                                        limits,
                                        qualities,
                                        members,
                                    },
                                )
                            });
                    (account(&tenant), of_tenant.collect())
                })
                .collect(),
        })
    }

    proptest! {
        #[test]
        fn from_any_state_one_plan_reaches_any_other_and_a_second_changes_nothing(
            first in any_desired(), second in any_desired()
        ) {
            let mut actual = site();
            apply(&plan(&first, &actual).changes, &mut actual);
            prop_assert_eq!(plan(&first, &actual), Plan::default());
            apply(&plan(&second, &actual).changes, &mut actual);
            prop_assert_eq!(plan(&second, &actual), Plan::default());
            apply(&plan(&DesiredAccounts::default(), &actual).changes, &mut actual);
            actual.accounts.retain(|_, account| !account.ours || account.parent.is_some());
            prop_assert_eq!(&actual.accounts, &site().accounts);
            prop_assert!(actual.members.is_empty());
        }
    }
}
