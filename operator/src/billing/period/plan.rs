//! Fourth step, pure: what each home namespace must hold of the month.

use super::gather::{Gathered, Home};
use super::rate::RatedPeriod;
use crate::billing::first_few;
use crate::report::{Verdict, is_leaving};
use kube::{Resource, ResourceExt};
use mesocentre_api::{BillingPeriod, Statement, StatementState, StatementStatus, labels};
use mesocentre_metering::{RatingFault, TenantStatement};
use serde_json::{Value, json};
use std::sync::Arc;

/// What must be done for the statements to be what the ledger says.
#[derive(Debug, Default)]
pub struct Plan {
    /// Statements to write, in the order of tenants' names.
    pub writes: Vec<Write>,
    /// Statements of tenants that have none.
    pub superfluous: Vec<Arc<Statement>>,
    /// Tenants whose statement has no place to stand.
    pub homeless: Vec<Homeless>,
}

/// One statement to write.
#[derive(Debug)]
pub struct Write {
    /// The tenant, whose home namespace has its name.
    pub tenant: String,
    /// The object as it is; none when it must be made.
    pub live: Option<Arc<Statement>>,
    /// The object to apply, where it is missing or its metadata is not as planned.
    pub object: Option<Value>,
    /// Its status.
    pub status: StatementStatus,
    /// Somebody changed what had been written.
    pub drifted: bool,
}

/// A tenant whose statement has no place to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Homeless {
    /// The tenant.
    pub tenant: String,
    /// Whether its home namespace is being deleted, else it is not there.
    pub leaving: bool,
}

/// Plans the month's statements.
pub fn plan(period: &BillingPeriod, there: &Gathered, rated: &RatedPeriod) -> Plan {
    let mut plan = Plan::default();
    for statement in &rated.month.rated.statements {
        match there.homes.get(&statement.tenant) {
            Some(Home::Stands) => plan
                .writes
                .extend(write(period, there, statement, rated.was_written())),
            other => plan.homeless.push(Homeless {
                tenant: statement.tenant.clone(),
                leaving: other.is_some(),
            }),
        }
    }
    for (tenant, live) in &there.statements {
        let is_rated = rated.month.rated.statements.iter().any(|s| s.tenant == *tenant);
        if is_rated || is_leaving(live.as_ref()) || there.homes.get(tenant) == Some(&Home::Leaving) {
            continue;
        }
        let faults: Vec<&RatingFault> = rated
            .month
            .rated
            .faults
            .iter()
            .filter(|fault| fault.concerns().contains(&tenant.as_str()))
            .collect();
        match (&live.status, faults.is_empty()) {
            (Some(status), false) => plan.writes.extend(out_of_date(tenant, live, status, &faults)),
            _ => plan.superfluous.push(Arc::clone(live)),
        }
    }
    plan
}

fn write(
    period: &BillingPeriod,
    there: &Gathered,
    statement: &TenantStatement,
    written: bool,
) -> Option<Write> {
    let live = there.statements.get(&statement.tenant).map(Arc::clone);
    // One that is leaving is gone in a moment, and then made again.
    if live.as_ref().is_some_and(|live| is_leaving(live.as_ref())) {
        return None;
    }
    let was = live.as_ref().and_then(|live| live.status.as_ref());
    let mut status = statement.status.clone();
    if status.state == StatementState::Provisional
        && let Some(was) = was
        && says_the_same(was, &status)
    {
        // The head that it was computed at is as true as a later one, and a run of one tenant costs no write for others.
        status.ledger.head = was.ledger.head.clone();
    }
    status.conditions = was.map(|was| was.conditions.clone()).unwrap_or_default();
    in_force(&status).ready(&mut status.conditions, None);

    let object = live
        .as_ref()
        .is_none_or(|live| !is_marked(live, period, &statement.tenant, status.state))
        .then(|| object(period, &statement.tenant, status.state));
    let differs = was != Some(&status);
    // What is final never differs by itself, nor what was written before.
    let drifted = was.is_some_and(|was| differs && (written || was.state == StatementState::Final));
    (object.is_some() || differs).then(|| Write {
        tenant: statement.tenant.clone(),
        drifted,
        live,
        object,
        status,
    })
}

/// Whether two statements differ in nothing but the ledger's head and what we say about them.
fn says_the_same(was: &StatementStatus, now: &StatementStatus) -> bool {
    let mut was = was.clone();
    was.ledger.head.clone_from(&now.ledger.head);
    was.conditions.clone_from(&now.conditions);
    was == *now
}

fn in_force(status: &StatementStatus) -> Verdict {
    let month = &status.period.month;
    match status.state {
        StatementState::Provisional => Verdict::yes(
            "Provisional",
            format!("it follows the ledger until the billing period {month} is closed"),
        ),
        StatementState::Final => Verdict::yes(
            "Final",
            format!("the billing period {month} is closed: what comes later is a correction in the next one"),
        ),
    }
}

/// What was billed before stays to be read, and says that it is no longer the newest.
fn out_of_date(
    tenant: &str,
    live: &Arc<Statement>,
    was: &StatementStatus,
    faults: &[&RatingFault],
) -> Option<Write> {
    let mut status = was.clone();
    let why = format!(
        "it is not up to date, since something in the month cannot be billed: {}",
        first_few(faults, "; ")
    );
    let changed = Verdict::no("CannotBeBilled", why).ready(&mut status.conditions, None);
    changed.then(|| Write {
        tenant: tenant.to_owned(),
        live: Some(Arc::clone(live)),
        object: None,
        status,
        drifted: false,
    })
}

/// The object without its status. While it is provisional it belongs to its period and goes with it; once it is final
/// it stands by itself.
fn object(period: &BillingPeriod, tenant: &str, state: StatementState) -> Value {
    let kind = Statement::kind(&());
    let mut object = json!({
        "apiVersion": Statement::api_version(&()),
        "kind": kind,
        "metadata": {
            "name": period.name_any(),
            "namespace": tenant,
            "labels": {labels::MANAGED_BY: labels::MANAGED_BY_VALUE, labels::TENANT: tenant},
        },
    });
    if state == StatementState::Provisional {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": BillingPeriod::api_version(&()),
            "kind": BillingPeriod::kind(&()),
            "name": period.name_any(),
            "uid": period.uid(),
        }]);
    }
    object
}

/// Whether labels and owner are as in [`object`].
fn is_marked(live: &Statement, period: &BillingPeriod, tenant: &str, state: StatementState) -> bool {
    let label = |name: &str, value: &str| live.labels().get(name).is_some_and(|label| label == value);
    let owned = live
        .owner_references()
        .iter()
        .any(|owner| owner.kind == BillingPeriod::kind(&()));
    let owned_by_it = live
        .owner_references()
        .iter()
        .any(|owner| Some(&owner.uid) == period.metadata.uid.as_ref());
    label(labels::MANAGED_BY, labels::MANAGED_BY_VALUE)
        && label(labels::TENANT, tenant)
        && match state {
            StatementState::Provisional => owned_by_it,
            StatementState::Final => !owned,
        }
}
