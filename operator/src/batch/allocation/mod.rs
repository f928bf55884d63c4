//! Allocation: an account on the scheduler with its limits and members, and what is used of it.
//!
//! The account itself is kept by `accounts.rs`, with all others of the scheduler in as few calls as can be; here it is
//! said whether it stands, and the object's deletion waits until it is gone.

mod budget;
pub mod carried;
pub mod reserved;
pub mod validate;

use self::carried::Granted;
use super::accounts::AccountsView;
use super::hold::kept_for_open_jobs;
use super::{Cluster, Engine};
use crate::Context;
use crate::failure::Failure;
use crate::report::{self, Verdict, write_status};
use crate::share::shown;
use jiff::Timestamp;
use jiff::civil::Date;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use mesocentre_api::{Allocation, AllocationSpec, AllocationStatus, Meter};
use mesocentre_metering::in_units;
use mesocentre_scheduler_bridge::AccountName;
use rust_decimal::Decimal;
use std::sync::Arc;
use std::time::Duration;
use validate::{Refused, ValidAllocation};

/// Days begin and end: a look now and then is enough.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(300);
const SECONDS_AN_HOUR: i128 = 3_600;
/// The condition that says how much of the hours is used.
const WITHIN_BUDGET: &str = "WithinBudget";
/// The condition that says what became of hours that are carried over.
const CARRIED_OVER: &str = "CarriedOver";
/// The condition that says whether what is reserved is kept.
const RESERVED: &str = "Reserved";
/// The condition that says whether Slurm's count and the ledger's agree.
const RECONCILED: &str = "Reconciled";

/// One reconcile.
///
/// # Errors
/// When the API server could not be written to now.
pub async fn reconcile(allocation: Arc<Allocation>, context: Arc<Context>) -> Result<Action, Failure> {
    let valid = validate::validate(&context, &allocation);
    let cluster = context.batch.cluster(&allocation.spec.scheduler);
    let accounts = cluster.as_ref().map(|cluster| cluster.accounts());

    if report::is_leaving(allocation.as_ref()) {
        let account = account_of(&allocation);
        let there = accounts
            .as_ref()
            .zip(account)
            .is_some_and(|(view, account)| view.holds(&account));
        // A scheduler that is gone for good keeps no accounts that anybody could use.
        if there {
            context.batch.accounts_changed(&allocation.spec.scheduler);
            return Ok(Action::requeue(Duration::from_secs(2)));
        }
        report::remove_finalizer(&context, &allocation).await?;
        return Ok(Action::await_change());
    }

    let allocation = if is_on_slurm(&allocation, &context) {
        report::add_finalizer(&context, &allocation).await?
    } else {
        allocation
    };
    let verdict = verdict(&valid, accounts.as_deref());
    let mut status = allocation.status.clone().unwrap_or_default();
    let not_known_yet = accounts
        .as_ref()
        .is_none_or(|view| !view.known_once && view.away.is_none());
    if valid.is_ok() && not_known_yet && status.observed_generation == allocation.metadata.generation {
        // This process has only just started: what its predecessor said holds until it knows better.
        return Ok(Action::requeue(Duration::from_secs(2)));
    }
    let before = status.conditions.clone();
    let before_granted = status.granted.clone();
    let granted = match granted(&allocation, &context) {
        Some(granted) => granted,
        None => {
            // Its days were not read yet.
            context.batch.usage().refresh(&context).await?;
            granted(&allocation, &context).unwrap_or_else(|| Granted {
                hours: allocation.spec.budget.clone(),
                at_most: allocation.hours().clone(),
                ..Granted::default()
            })
        }
    };
    fill_in(&mut status, &allocation, &context, granted, valid.as_ref().ok());
    count(&mut status, &allocation, &context, cluster.as_deref());
    say_whether_reserved(&mut status, &allocation, context.today(), accounts.as_deref());
    verdict.ready(&mut status.conditions, allocation.metadata.generation);
    let now = status.conditions.clone();
    let is_granted_otherwise = status.granted != before_granted;
    write_status(&context, &allocation, status).await?;
    if is_granted_otherwise {
        // What may be used is the scheduler's limit, once the cache has heard of it.
        context.batch.accounts_changed(&allocation.spec.scheduler);
    }
    report::warn_when_not_ready(&context, allocation.as_ref(), &before, &now).await;
    for type_ in [WITHIN_BUDGET, CARRIED_OVER, RESERVED, RECONCILED] {
        report::warn_when_not(&context, allocation.as_ref(), type_, &before, &now).await;
    }
    Ok(Action::requeue(LOOKED_AT_EVERY))
}

/// Whether there is an account outside Kubernetes to undo.
fn is_on_slurm(allocation: &Allocation, context: &Context) -> bool {
    context
        .stores
        .schedulers
        .get(&crate::watch::key(None, &allocation.spec.scheduler))
        .is_some_and(|scheduler| scheduler.spec.slurm.is_some())
}

/// `<tenant>.<allocation>`.
fn account_of(allocation: &Allocation) -> Option<AccountName> {
    let home = allocation.namespace()?;
    AccountName::new(&format!("{home}.{}", allocation.name_any())).ok()
}

/// Whether it can be used, and if not, why.
fn verdict(valid: &Result<ValidAllocation, Refused>, accounts: Option<&AccountsView>) -> Verdict {
    let valid = match valid {
        Ok(valid) => valid,
        Err(refused) => return Verdict::no(refused.reason(), refused.to_string()),
    };
    let Some(view) = accounts else {
        return Verdict::no(
            "SchedulerNotReady",
            "the scheduler is not at work yet; its Scheduler object says why",
        );
    };
    if let Some(why) = view.wrong.get(&valid.account) {
        return Verdict::no("AccountRefused", why.clone());
    }
    if let Some(missing) = valid
        .members
        .iter()
        .find(|(_, account)| !view.admits(&valid.account, account.as_str()))
    {
        return Verdict::no(
            "AccountPending",
            match &view.away {
                Some(why) => format!("the account {} is not up to date: {why}", valid.account),
                None => format!(
                    "the account {} is being made; {} cannot use it yet",
                    valid.account, missing.0
                ),
            },
        );
    }
    let strangers = if valid.strangers.is_empty() {
        String::new()
    } else {
        format!(
            "; {} cannot: give them a posixAccount among the members of the tenant, or take them out of members here",
            valid.strangers.join(", ")
        )
    };
    let curtailed = valid
        .curtailed
        .as_ref()
        .map_or_else(String::new, |why| format!("; {why}"));
    Verdict::yes(
        "AccountReady",
        format!(
            "{} may submit to the account {}{strangers}{curtailed}",
            match valid.members.len() {
                0 => "nobody".to_owned(),
                1 => "one member".to_owned(),
                n => format!("{n} members"),
            },
            valid.account
        ),
    )
}

/// A tenant's allocations, and what was used of them.
struct BooksOf<'a> {
    context: &'a Context,
    home: &'a str,
}

impl carried::Books for BooksOf<'_> {
    fn spec(&self, allocation: &str) -> Option<AllocationSpec> {
        let key = crate::watch::key::<Allocation>(Some(self.home), allocation);
        let found = self.context.stores.allocations.get(&key)?;
        Some(found.spec.clone())
    }

    fn used(&self, allocation: &str, until: Date) -> Option<budget::Used> {
        let usage = self.context.batch.usage();
        let of = |meter| usage.until(self.home, allocation, meter, until);
        Some(budget::Used {
            core_seconds: of(Meter::ComputeCoreHours)?,
            gpu_seconds: of(Meter::ComputeGpuHours)?,
        })
    }

    fn today(&self) -> Date {
        self.context.today()
    }
}

fn granted(allocation: &Allocation, context: &Context) -> Option<Granted> {
    let home = allocation.namespace().unwrap_or_default();
    let books = BooksOf { context, home: &home };
    carried::granted(&allocation.name_any(), &allocation.spec, &books)
}

fn fill_in(
    status: &mut AllocationStatus,
    allocation: &Allocation,
    context: &Context,
    granted: Granted,
    valid: Option<&ValidAllocation>,
) {
    let (home, name) = (allocation.namespace().unwrap_or_default(), allocation.name_any());
    let spec = &allocation.spec;
    let is_more = spec.carry_over.is_some() || spec.grace.is_some();
    status.granted = is_more.then(|| granted.at_most.clone());
    status.carried = granted.carried;
    status.grace_until = granted.grace_until;
    match granted.told {
        Some(told) => {
            told.set(
                &mut status.conditions,
                CARRIED_OVER,
                allocation.metadata.generation,
            );
        }
        None => status
            .conditions
            .retain(|condition| condition.type_ != CARRIED_OVER),
    }
    let used = |meter| context.batch.usage().of(&home, &name, meter);
    let cores = used(Meter::ComputeCoreHours);
    let gpus = used(Meter::ComputeGpuHours);
    status.observed_generation = allocation.metadata.generation;
    status.account = valid.map(|valid| valid.account.to_string());
    status.members = valid
        .map(|valid| valid.members.iter().map(|(user, _)| user.clone()).collect())
        .unwrap_or_default();
    status.used_core_hours = in_units(cores, SECONDS_AN_HOUR);
    let hours = &granted.hours;
    status.remaining_core_hours = hours
        .core_hours
        .zip(status.used_core_hours.as_deref())
        .and_then(|(budget, used)| remaining(budget, used));
    status.remaining_gpu_hours = hours
        .gpu_hours
        .zip(in_units(gpus, SECONDS_AN_HOUR))
        .and_then(|(budget, used)| remaining(budget, &used));
    let used = budget::Used {
        core_seconds: cores,
        gpu_seconds: gpus,
    };
    let standing = budget::standing(spec, hours, used, &context.zone, Timestamp::now());
    status.used_percent = standing.as_ref().map(|standing| shown(standing.percent));
    status.forecast_percent = standing
        .as_ref()
        .and_then(|standing| standing.forecast.map(shown));
    match standing {
        Some(standing) => {
            budget::verdict(spec, &standing, granted.grace_until, context.today()).set(
                &mut status.conditions,
                WITHIN_BUDGET,
                allocation.metadata.generation,
            );
        }
        None => status
            .conditions
            .retain(|condition| condition.type_ != WITHIN_BUDGET),
    }
    status.used_gpu_hours = (gpus > 0 || allocation.spec.budget.gpu_hours.is_some())
        .then(|| in_units(gpus, SECONDS_AN_HOUR))
        .flatten();
}

/// What jobs hold, and what the scheduler counts itself.
fn count(
    status: &mut AllocationStatus,
    allocation: &Allocation,
    context: &Context,
    cluster: Option<&Cluster>,
) {
    let (Some(cluster), Some(account)) = (cluster, account_of(allocation)) else {
        // What was said stands until the scheduler is there again.
        return;
    };
    let hours = |core_seconds: i128| in_units(core_seconds, SECONDS_AN_HOUR);
    match &cluster.engine {
        Engine::Kubernetes(_) => {
            let (home, name) = (allocation.namespace().unwrap_or_default(), allocation.name_any());
            status.held_core_hours = hours(kept_for_open_jobs(context, &home, &name));
            status.scheduler_core_hours = None;
        }
        Engine::Slurm(_) => {
            let Some(used) = cluster.accounts().used.get(&account).copied() else {
                return;
            };
            status.held_core_hours = hours(i128::from(used.booked_core_minutes) * 60);
            status.scheduler_core_hours = hours(i128::from(used.core_minutes) * 60);
        }
    }
    if let Some(verdict) = cluster.counted.verdict(&account) {
        verdict.set(&mut status.conditions, RECONCILED, allocation.metadata.generation);
    }
}

/// Whether the reservation that it names keeps what is reserved for it, within its days.
fn say_whether_reserved(
    status: &mut AllocationStatus,
    allocation: &Allocation,
    today: Date,
    accounts: Option<&AccountsView>,
) {
    let spec = &allocation.spec;
    let is_metered = (spec.valid_from..=spec.valid_until).contains(&today);
    let Some((reserved, reservation)) = reserved::by_reservation(spec).filter(|_| is_metered) else {
        status.conditions.retain(|condition| condition.type_ != RESERVED);
        return;
    };
    // What was said stands until they are read.
    if let Some(all) = accounts.and_then(|view| view.reservations.as_deref()) {
        reserved::verdict(reserved, reservation, all).set(
            &mut status.conditions,
            RESERVED,
            allocation.metadata.generation,
        );
    }
}

/// What is left of a budget in hours, so that it and what is shown as used are the budget; negative when it is over.
fn remaining(budget: Decimal, used: &str) -> Option<String> {
    Some(format!("{:.6}", budget.checked_sub(used.parse().ok()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_the_budget_less_the_use_and_may_be_below_nothing() {
        assert_eq!(
            remaining(Decimal::from(50_000), "20.000278").as_deref(),
            Some("49979.999722")
        );
        assert_eq!(
            remaining(Decimal::from(1), "2.000000").as_deref(),
            Some("-1.000000")
        );
    }
}
