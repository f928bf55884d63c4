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

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]
mod tests {
    use super::*;
    use mesocentre_api::{Condition, ConditionStatus};
    use mesocentre_metering::{Digest, Head, MonthStatements, Rated};
    use std::collections::BTreeMap;

    const TENANT: &str = "univ-caen";

    fn period(uid: &str) -> BillingPeriod {
        serde_json::from_value(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "BillingPeriod",
            "metadata": {"name": "2026-11", "uid": uid},
            "spec": {"month": "2026-11"},
        }))
        .unwrap()
    }

    fn status(state: StatementState, net: &str, head: &str) -> StatementStatus {
        serde_json::from_value(json!({
            "state": state, "currency": "EUR",
            "period": {"month": "2026-11", "from": "2026-10-31T23:00:00Z", "to": "2026-11-30T23:00:00Z", "timeZone": "Europe/Paris"},
            "lines": [{"kind": "Usage", "amount": net, "vatRate": "20"}],
            "totals": {"net": net, "vat": [], "gross": net},
            "ledger": {"records": 22, "head": head},
        }))
        .unwrap()
    }

    fn fault() -> RatingFault {
        RatingFault::NoTariff {
            tenant: TENANT.into(),
            meter: "compute.core-hours",
            day: "2026-11-03".parse().unwrap(),
            category: "University",
        }
    }

    fn rated(statements: Vec<TenantStatement>, faults: Vec<RatingFault>) -> RatedPeriod {
        let closed = statements
            .iter()
            .any(|statement| statement.status.state == StatementState::Final);
        RatedPeriod::new(
            MonthStatements {
                head: Head {
                    seq: 22,
                    hash: Digest::ZERO,
                },
                rated: Rated {
                    statements,
                    pools: Vec::new(),
                    true_ups: Vec::new(),
                    rights: Vec::new(),
                    activity: BTreeMap::new(),
                    faults,
                },
                closed: closed.then(|| (Digest::ZERO, "2026-12-05T08:00:00Z".parse().unwrap())),
            },
            None,
        )
    }

    fn with_statement(state: StatementState) -> RatedPeriod {
        let statement = TenantStatement {
            tenant: TENANT.into(),
            status: status(state, "18240.24", "now"),
        };
        rated(vec![statement], Vec::new())
    }

    fn there(home: Option<Home>, live: Option<Statement>) -> Gathered {
        Gathered {
            tenants: Vec::new(),
            tariffs: Vec::new(),
            cost_pools: Vec::new(),
            co_investments: Vec::new(),
            homes: home.map(|home| (TENANT.to_owned(), home)).into_iter().collect(),
            statements: live
                .map(|live| (TENANT.to_owned(), Arc::new(live)))
                .into_iter()
                .collect(),
        }
    }

    /// What the API server holds once the plan was carried out.
    fn carried_out(plan: &Plan, before: Option<Statement>) -> Option<Statement> {
        if !plan.superfluous.is_empty() {
            return None;
        }
        let Some(write) = plan.writes.first() else {
            return before;
        };
        let mut statement = match (&write.object, &write.live) {
            (Some(object), _) => serde_json::from_value(object.clone()).unwrap(),
            (None, Some(live)) => Statement::clone(live),
            (None, None) => panic!("a write without an object: {write:?}"),
        };
        statement.status = Some(write.status.clone());
        Some(statement)
    }

    fn written(rated: &RatedPeriod) -> Statement {
        let plan = plan(&period("p1"), &there(Some(Home::Stands), None), rated);
        carried_out(&plan, None).unwrap()
    }

    fn edited(mut statement: Statement, edit: impl FnOnce(&mut StatementStatus)) -> Statement {
        edit(statement.status.as_mut().unwrap());
        statement
    }

    fn without_conditions(statement: &Statement) -> StatementStatus {
        let mut status = statement.status.clone().unwrap();
        status.conditions = Vec::new();
        status
    }

    /// Every way in which a statement can stand before a reconcile.
    fn standing() -> Vec<Option<Statement>> {
        let provisional = written(&with_statement(StatementState::Provisional));
        let closed = written(&with_statement(StatementState::Final));
        let mut all: Vec<Option<Statement>> = vec![None];
        for statement in [provisional, closed] {
            all.push(Some(statement.clone()));
            all.push(Some(edited(statement.clone(), |status| {
                status.totals.net = "0.00".into()
            })));
            all.push(Some(edited(statement.clone(), |status| {
                status.ledger.head = "before".into()
            })));
            all.push(Some(edited(statement.clone(), |status| {
                status.conditions = Vec::new()
            })));
            let mut bare = statement.clone();
            bare.status = None;
            all.push(Some(bare));
            let mut unlabelled = statement.clone();
            unlabelled.metadata.labels = None;
            all.push(Some(unlabelled));
            let mut of_another_period = statement;
            if let Some(owners) = &mut of_another_period.metadata.owner_references {
                owners[0].uid = "p0".into();
            }
            all.push(Some(of_another_period));
        }
        all
    }

    #[test]
    fn whatever_stood_before_one_pass_is_enough_and_a_second_does_nothing() {
        let ratings = [
            || with_statement(StatementState::Provisional),
            || with_statement(StatementState::Final),
            || rated(Vec::new(), vec![fault()]),
            || rated(Vec::new(), Vec::new()),
        ];
        let mut cases = 0;
        for rating in ratings {
            for home in [Some(Home::Stands), Some(Home::Leaving), None] {
                for before in standing() {
                    let rating = rating();
                    let first = plan(&period("p1"), &there(home, before.clone()), &rating);
                    if home != Some(Home::Stands) {
                        assert!(
                            first
                                .writes
                                .iter()
                                .all(|write| write.live.is_some() && write.object.is_none()),
                            "something is put into a namespace that is not there: {first:?}"
                        );
                    }
                    let after = carried_out(&first, before);
                    let second = plan(&period("p1"), &there(home, after), &rating);
                    assert!(
                        second.writes.is_empty() && second.superfluous.is_empty(),
                        "{second:?}"
                    );
                    cases += 1;
                }
            }
        }
        assert_eq!(cases, 4 * 3 * 15);
    }

    #[test]
    fn a_final_statement_is_what_the_ledger_keeps_whatever_stood_before() {
        for before in standing() {
            let rating = with_statement(StatementState::Final);
            let there = there(Some(Home::Stands), before.clone());
            let after = carried_out(&plan(&period("p1"), &there, &rating), before).unwrap();
            assert_eq!(
                without_conditions(&after),
                rating.month.rated.statements[0].status
            );
            assert!(
                after.metadata.owner_references.is_none(),
                "it would go with its period: {after:?}"
            );
        }
    }

    #[test]
    fn a_run_of_one_tenant_costs_no_write_for_another() {
        let before = edited(written(&with_statement(StatementState::Provisional)), |status| {
            status.ledger.head = "before".into()
        });
        let rating = with_statement(StatementState::Provisional);
        let plan = plan(&period("p1"), &there(Some(Home::Stands), Some(before)), &rating);
        assert!(plan.writes.is_empty(), "{plan:?}");
    }

    #[test]
    fn a_touched_statement_is_drift_only_once_it_had_been_written() {
        let touched = edited(written(&with_statement(StatementState::Provisional)), |status| {
            status.totals.net = "0.00".into()
        });
        let rating = with_statement(StatementState::Provisional);
        let there = there(Some(Home::Stands), Some(touched));
        assert!(!plan(&period("p1"), &there, &rating).writes[0].drifted);
        rating.set_written();
        assert!(plan(&period("p1"), &there, &rating).writes[0].drifted);
    }

    #[test]
    fn a_tenant_that_cannot_be_billed_keeps_its_statement_and_reads_why() {
        let before = written(&with_statement(StatementState::Provisional));
        let rating = rated(Vec::new(), vec![fault()]);
        let there = there(Some(Home::Stands), Some(before.clone()));
        let after = carried_out(&plan(&period("p1"), &there, &rating), Some(before.clone())).unwrap();
        assert_eq!(without_conditions(&after), without_conditions(&before));
        let ready: &Condition = &after.status.unwrap().conditions[0];
        assert_eq!(
            (ready.status, ready.reason.as_str()),
            (ConditionStatus::False, "CannotBeBilled")
        );
        assert!(ready.message.contains("no tariff covers University"), "{ready:?}");
    }

    #[test]
    fn a_statement_of_nobody_goes() {
        let before = written(&with_statement(StatementState::Provisional));
        let rating = rated(Vec::new(), Vec::new());
        let there = there(Some(Home::Stands), Some(before));
        assert_eq!(plan(&period("p1"), &there, &rating).superfluous.len(), 1);
    }

    #[test]
    fn a_tenant_without_a_home_is_named() {
        let rating = with_statement(StatementState::Provisional);
        for (home, leaving) in [(None, false), (Some(Home::Leaving), true)] {
            assert_eq!(
                plan(&period("p1"), &there(home, None), &rating).homeless,
                [Homeless {
                    tenant: TENANT.into(),
                    leaving
                }]
            );
        }
    }
}
