//! Slurm's accounts: what tenants, allocations and members should be there, kept by difference.
//!
//! A tenant that is not valid now, and an allocation outside its days, keep their accounts but have no members in them:
//! nothing new can be submitted, and nothing that was used is forgotten. A suspended tenant's accounts are closed, members
//! and all: what waits is not started, and after the grace whatever is left of them is cancelled, by whatever way it came.

use super::allocation::reserved::by_reservation;
use super::allocation::validate::{ValidAllocation, valid_tenant};
use super::{Cluster, Engine, WaitsFor};
use crate::Context;
use crate::billing::ceiling::standing;
use crate::watch::key;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use mesocentre_scheduler_bridge::slurm::accounts::{AllocationAccount, DesiredAccounts};
use mesocentre_scheduler_bridge::slurm::{AccountUse, Reservation, Slurm};
use mesocentre_scheduler_bridge::{AccountName, SchedulerError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Changes that come together are made together.
const TOGETHER: Duration = Duration::from_millis(50);
/// How often it is seen whether somebody else changed the accounts, or whether a day began that changes them.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(60);
/// After how long it is tried again where slurmdbd did not answer or refused.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How long slurmctld may take to hear of new accounts from slurmdbd.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// The accounts as they are kept.
#[derive(Debug, Default)]
pub struct AccountsView {
    /// What was desired when they were last brought up to date.
    pub desired: DesiredAccounts,
    /// Accounts that slurmctld knows as they are desired, closed or open: jobs can be submitted to those that are open.
    pub known: HashSet<AccountName>,
    /// What slurmctld says is used of each account.
    pub used: HashMap<AccountName, AccountUse>,
    /// Slurm's reservations, where an allocation's reserved capacity rests on one.
    pub reservations: Option<Vec<Reservation>>,
    /// Why an account is not as it should be.
    pub wrong: HashMap<AccountName, String>,
    /// Why they could not be brought up to date the last time.
    pub away: Option<String>,
    /// Whether this process has brought them up to date at least once.
    pub known_once: bool,
}

impl AccountsView {
    /// Whether a person can submit to an account.
    pub fn admits(&self, account: &AccountName, user: &str) -> bool {
        self.known.contains(account)
            && !self.wrong.contains_key(account)
            && self
                .desired
                .tenants
                .values()
                .filter_map(|allocations| allocations.get(account))
                .any(|allocation| {
                    !allocation.limits.closed
                        && allocation.members.iter().any(|member| member.as_str() == user)
                })
    }

    /// Whether an account is still desired or may still be there.
    pub fn holds(&self, account: &AccountName) -> bool {
        self.wrong.contains_key(account)
            || self
                .desired
                .tenants
                .values()
                .any(|allocations| allocations.contains_key(account))
    }
}

/// Keeps them until the cluster is set aside.
pub async fn run(context: Arc<Context>, cluster: Arc<Cluster>) {
    let mut looked_at: Option<Instant> = None;
    let mut emptied = HashSet::new();
    loop {
        let view = cluster.accounts();
        let pause = if view.away.is_some() || !view.wrong.is_empty() {
            TRIED_AGAIN_AFTER
        } else {
            LOOKED_AT_EVERY
        };
        if looked_at.is_some() {
            // Whichever comes first; both lead to the same.
            let _ = tokio::time::timeout(pause, cluster.accounts_changed.notified()).await;
            tokio::time::sleep(TOGETHER).await;
        }
        let desired = desired(&context, &cluster.name);
        let due = looked_at.is_none_or(|at| at.elapsed() >= pause)
            || view.reservations.is_none() && rests_on_reservations(&context, &cluster);
        if desired == view.desired && !due {
            empty(&context, &cluster, &mut emptied).await;
            continue;
        }
        looked_at = Some(Instant::now());
        let next = keep(&context, &cluster, desired).await;
        let turned = next.desired != view.desired
            || next.known != view.known
            || next.wrong != view.wrong
            || next.reservations != view.reservations
            || next.away != view.away;
        let moved: Vec<AccountName> = next
            .used
            .iter()
            .filter(|(account, used)| view.used.get(account) != Some(used))
            .map(|(account, _)| account.clone())
            .collect();
        // Before the ledger was read once, nothing is known of what it has.
        let counted = match cluster.last_pass() {
            Some(_) => cluster.counted.compare(&context, &next.used),
            None => Vec::new(),
        };
        cluster.set_accounts(next);
        if turned {
            tell(&context, &cluster);
        } else {
            have_looked_at(&context, moved.into_iter().chain(counted));
        }
        empty(&context, &cluster, &mut emptied).await;
    }
}

/// Cancels what is left in the accounts of tenants whose work is to be stopped, once each: they are closed by then, so
/// nothing comes after it.
async fn empty(context: &Context, cluster: &Cluster, emptied: &mut HashSet<AccountName>) {
    let Engine::Slurm(slurm) = &cluster.engine else {
        // Nothing comes there but by batch jobs, which are cancelled one by one.
        return;
    };
    let view = cluster.accounts();
    let mut stopping = HashSet::new();
    for (tenant, allocations) in &view.desired.tenants {
        let closed = allocations.iter().filter(|(_, wanted)| wanted.limits.closed);
        if crate::tenancy::suspension_of(context, tenant.as_str()).is_some_and(|s| s.work_stops) {
            stopping.extend(closed.map(|(account, _)| account.clone()));
        }
    }
    emptied.retain(|account| stopping.contains(account));
    for account in stopping {
        if emptied.contains(&account) || view.away.is_some() || view.wrong.contains_key(&account) {
            continue;
        }
        let cancelled = cluster
            .call(context, "cancel", slurm.cancel_account(&account))
            .await;
        match cancelled {
            Ok(()) => {
                cluster.ask_soon.notify_one();
                emptied.insert(account);
            }
            Err(error) => tracing::warn!(%account, %error, "the account's jobs are not cancelled yet"),
        }
    }
}

/// Has the allocations of these accounts looked at.
fn have_looked_at(context: &Context, accounts: impl Iterator<Item = AccountName>) {
    for account in accounts {
        if let Some((tenant, allocation)) = account.as_str().split_once('.') {
            context
                .triggers
                .allocations
                .reconcile(key(Some(tenant), allocation));
        }
    }
}

fn tell(context: &Context, cluster: &Cluster) {
    for allocation in context.stores.allocations.state() {
        if allocation.spec.scheduler == cluster.name {
            context
                .triggers
                .allocations
                .reconcile(ObjectRef::from_obj(allocation.as_ref()));
            let home = allocation.namespace().unwrap_or_default();
            context
                .batch
                .wake(&WaitsFor::Allocation(home, allocation.name_any()));
        }
    }
}

async fn keep(context: &Context, cluster: &Cluster, desired: DesiredAccounts) -> AccountsView {
    match &cluster.engine {
        Engine::Slurm(slurm) => keep_in_slurm(context, cluster, slurm, desired).await,
        Engine::Kubernetes(_) => AccountsView {
            // Nothing to make there: who may submit, and how much, is seen to here.
            used: HashMap::new(),
            reservations: None,
            known: desired
                .tenants
                .values()
                .flat_map(|allocations| allocations.keys().cloned())
                .collect(),
            desired,
            wrong: HashMap::new(),
            away: None,
            known_once: true,
        },
    }
}

async fn keep_in_slurm(
    context: &Context,
    cluster: &Cluster,
    slurm: &Slurm,
    desired: DesiredAccounts,
) -> AccountsView {
    let before = cluster.accounts();
    let kept = cluster
        .call(context, "accounts", slurm.keep_accounts(&desired))
        .await;
    let (conflicts, failed) = match kept {
        Ok(kept) => kept,
        Err(error) => return not_now(&before, &error),
    };
    let mut wrong: HashMap<AccountName, String> = conflicts
        .into_iter()
        .map(|conflict| (conflict.account, conflict.why))
        .collect();
    for failed in failed {
        for account in accounts_of(&failed.change) {
            wrong.insert(account, failed.error.to_string());
        }
    }
    let closed: HashMap<&AccountName, bool> = desired
        .tenants
        .values()
        .flatten()
        .map(|(account, allocation)| (account, allocation.limits.closed))
        .collect();
    let all: Vec<AccountName> = closed.keys().map(|account| (*account).clone()).collect();
    let deadline = Instant::now() + HEARD_WITHIN;
    let (known, used) = loop {
        let used = match cluster
            .call(context, "account_use", slurm.account_use(&all))
            .await
        {
            Ok(used) => used,
            Err(error) => return not_now(&before, &error),
        };
        let known: HashSet<AccountName> = used
            .iter()
            .filter(|(account, used)| closed.get(account) == Some(&used.limits.closed))
            .map(|(account, _)| account.clone())
            .collect();
        let all_known = all
            .iter()
            .all(|account| known.contains(account) || wrong.contains_key(account));
        if all_known || Instant::now() >= deadline {
            break (known, used);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let reservations = reservations(context, cluster, slurm).await.unwrap_or_else(|error| {
        // Accounts wait for nothing that only a warning rests on.
        tracing::warn!(cluster = %cluster.name, %error, "Slurm's reservations are not read now: what was said of them stands");
        before.reservations.clone()
    });
    AccountsView {
        desired,
        known,
        used,
        reservations,
        wrong,
        away: None,
        known_once: true,
    }
}

/// Whether somebody's reserved capacity rests on a reservation of Slurm's.
fn rests_on_reservations(context: &Context, cluster: &Cluster) -> bool {
    matches!(cluster.engine, Engine::Slurm(_))
        && context.stores.allocations.state().iter().any(|allocation| {
            allocation.spec.scheduler == cluster.name && by_reservation(&allocation.spec).is_some()
        })
}

async fn reservations(
    context: &Context,
    cluster: &Cluster,
    slurm: &Slurm,
) -> Result<Option<Vec<Reservation>>, SchedulerError> {
    if !rests_on_reservations(context, cluster) {
        return Ok(None);
    }
    let asked = cluster.call(context, "reservations", slurm.reservations());
    asked.await.map(Some)
}

fn not_now(before: &AccountsView, error: &SchedulerError) -> AccountsView {
    AccountsView {
        desired: before.desired.clone(),
        known: before.known.clone(),
        used: before.used.clone(),
        reservations: before.reservations.clone(),
        wrong: before.wrong.clone(),
        away: Some(error.to_string()),
        known_once: before.known_once,
    }
}

fn accounts_of(change: &mesocentre_scheduler_bridge::slurm::accounts::Change) -> Vec<AccountName> {
    use mesocentre_scheduler_bridge::slurm::accounts::Change;
    match change {
        Change::AddTenants { accounts }
        | Change::AddAllocations { accounts, .. }
        | Change::SetLimits { accounts, .. }
        | Change::SetQualities { accounts, .. }
        | Change::AddMembers { accounts, .. }
        | Change::RemoveAccounts { accounts } => accounts.clone(),
        Change::RemoveMembers { account, .. } | Change::SetDefaultAccount { account, .. } => {
            vec![account.clone()]
        }
    }
}

/// What should be on a scheduler.
pub fn desired(context: &Context, scheduler: &str) -> DesiredAccounts {
    let mut desired = DesiredAccounts::default();
    let claims = context.tenancy.tenant_claims(context);
    let mut tenants = HashMap::new();
    for allocation in context.stores.allocations.state() {
        if allocation.spec.scheduler != scheduler || crate::report::is_leaving(allocation.as_ref()) {
            continue;
        }
        let home = allocation.namespace().unwrap_or_default();
        let tenant = tenants
            .entry(home.clone())
            .or_insert_with(|| valid_tenant(context, &home, &claims));
        let names = (
            AccountName::new(&home),
            AccountName::new(&format!("{home}.{}", allocation.name_any())),
        );
        let (Some(tenant), (Ok(parent), Ok(account))) = (tenant, names) else {
            // No such tenant, or none that ever was one.
            continue;
        };
        let valid = tenant.as_ref().ok().and_then(|tenant| {
            let standing = standing(context, &allocation);
            ValidAllocation::new(&allocation, tenant, context.today(), &standing).ok()
        });
        let suspended = tenant.as_ref().is_ok_and(|tenant| tenant.suspension.is_some());
        let limits = valid.as_ref().map_or_else(
            || {
                let spec = &allocation.spec;
                super::allocation::validate::limits(allocation.hours(), spec.when_exhausted, suspended)
            },
            |valid| valid.limits,
        );
        let members = valid.map(|valid| valid.posix_accounts()).unwrap_or_default();
        let qualities = super::allocation::validate::qualities(allocation.spec.slurm.as_ref());
        desired.tenants.entry(parent).or_default().insert(
            account,
            AllocationAccount {
                limits,
                qualities,
                members,
            },
        );
    }
    desired
}
