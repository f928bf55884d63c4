//! Slurm's accounts: what tenants, allocations and members should be there, kept by difference.
//!
//! A tenant that is not valid now (its convention has ended), and an allocation outside its days, keep their accounts
//! but have no members in them: nothing new can be submitted, and nothing that was used is forgotten.

use super::Cluster;
use super::WaitsFor;
use super::allocation::validate::{ValidAllocation, valid_tenant};
use crate::Context;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use mesocentre_scheduler_bridge::slurm::accounts::{AllocationAccount, DesiredAccounts};
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
    /// Accounts that slurmctld knows, so that jobs can be submitted to them.
    pub known: HashSet<AccountName>,
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
                .any(|allocation| allocation.members.iter().any(|member| member.as_str() == user))
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
        let due = looked_at.is_none_or(|at| at.elapsed() >= pause);
        if desired == view.desired && !due {
            continue;
        }
        looked_at = Some(Instant::now());
        let next = keep(&context, &cluster, desired).await;
        let turned = next.desired != view.desired
            || next.known != view.known
            || next.wrong != view.wrong
            || next.away != view.away;
        cluster.set_accounts(next);
        if turned {
            tell(&context, &cluster);
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
    let before = cluster.accounts();
    let kept = cluster
        .call(context, "accounts", cluster.slurm.keep_accounts(&desired))
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
    let all: Vec<AccountName> = desired
        .tenants
        .values()
        .flat_map(|allocations| allocations.keys().cloned())
        .collect();
    let deadline = Instant::now() + HEARD_WITHIN;
    let known = loop {
        let known: HashSet<AccountName> = match cluster
            .call(context, "account_use", cluster.slurm.account_use(&all))
            .await
        {
            Ok(known) => known.into_keys().collect(),
            Err(error) => return not_now(&before, &error),
        };
        let all_known = all
            .iter()
            .all(|account| known.contains(account) || wrong.contains_key(account));
        if all_known || Instant::now() >= deadline {
            break known;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    AccountsView {
        desired,
        known,
        wrong,
        away: None,
        known_once: true,
    }
}

fn not_now(before: &AccountsView, error: &SchedulerError) -> AccountsView {
    AccountsView {
        desired: before.desired.clone(),
        known: before.known.clone(),
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
    let claims = context.tenancy.posix_claims(&context.stores);
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
        let valid = tenant
            .as_ref()
            .ok()
            .and_then(|tenant| ValidAllocation::new(&allocation, tenant, context.today()).ok());
        let limits = valid.as_ref().map_or_else(
            || super::allocation::validate::limits(&allocation.spec),
            |valid| valid.limits,
        );
        let members = valid.map(|valid| valid.posix_accounts()).unwrap_or_default();
        desired
            .tenants
            .entry(parent)
            .or_default()
            .insert(account, AllocationAccount { limits, members });
    }
    desired
}
