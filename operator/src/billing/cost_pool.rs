//! CostPool: says whether it can be shared: the tenants that it names are there, and its terms make sense. Nothing is
//! applied: it is shared where a month is rated.

use super::unknown_tenants;
use crate::Context;
use crate::failure::Failure;
use crate::report::{self, Verdict, is_leaving};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use mesocentre_api::{CostPool, CostPoolSpec};
use mesocentre_metering::BillingMonth;
use mesocentre_metering::sharing::{Days, SharingFault, amount_of_month, share_over, true_up_of};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One reconcile.
///
/// # Errors
/// When the status could not be written now.
pub async fn reconcile(pool: Arc<CostPool>, context: Arc<Context>) -> Result<Action, Failure> {
    if is_leaving(pool.as_ref()) {
        return Ok(Action::await_change());
    }
    let tenants = context.stores.tenants.state();
    let tenants: BTreeSet<String> = tenants.iter().map(|tenant| tenant.name_any()).collect();
    let verdict = judge(&pool.name_any(), &pool.spec, &tenants);
    report::judge(&context, &pool, &verdict).await?;
    Ok(Action::await_change())
}

fn judge(name: &str, spec: &CostPoolSpec, tenants: &BTreeSet<String>) -> Verdict {
    if let Err(fault) = try_to_share(name, spec) {
        return Verdict::no("CannotBeShared", fault.to_string());
    }
    if let Some(unknown) = unknown_tenants(spec.tenants(), tenants, "who shares this pool") {
        return unknown;
    }
    let currency = spec.currency.as_str();
    let sharing = match spec.shares.len() {
        1 => "1 tenant carries it".to_owned(),
        several => format!("{several} tenants share it"),
    };
    let changes = match spec.changes.iter().map(|change| change.from).min() {
        Some(first) => format!("; changed from {first} on"),
        None => String::new(),
    };
    let true_up = match &spec.true_up {
        Some(true_up) => format!(
            "; made up to the real costs of {} {currency} in {}",
            true_up.actual_amount, true_up.month
        ),
        None => String::new(),
    };
    Verdict::yes(
        "Shared",
        format!(
            "{sharing}: a twelfth of {} {currency} each month, {} % by weight and {} % by use{changes}{true_up}",
            spec.annual_amount, spec.key.fixed, spec.key.usage
        ),
    )
}

/// Its first and its last month, as if nobody had used anything: what can be told of its terms ahead.
fn try_to_share(name: &str, spec: &CostPoolSpec) -> Result<(), SharingFault> {
    for day in [spec.valid_from, spec.valid_until] {
        if let Some(amount) = amount_of_month(name, spec, BillingMonth::of(day))? {
            let days = Days {
                first: spec.valid_from,
                last: spec.valid_until,
            };
            share_over(name, spec, days, amount, |_, _, _| 0)?;
        }
    }
    true_up_of(name, spec).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;
    use mesocentre_api::ConditionStatus;
    use serde_json::json;

    fn pool() -> CostPoolSpec {
        serde_json::from_value(json!({
            "description": "Énergie", "currency": "EUR", "validFrom": "2026-01-01", "validUntil": "2026-12-31",
            "annualAmount": "480000.00", "key": {"fixed": 60, "usage": 40, "meter": "compute.core-hours"},
            "shares": [{"tenant": "univ-caen", "weight": 45}, {"tenant": "chu-rouen", "weight": 30}],
        }))
        .unwrap()
    }

    fn tenants(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_pool_whose_tenants_are_there_is_ready() {
        let verdict = judge("p", &pool(), &tenants(&["univ-caen", "chu-rouen"]));
        assert_eq!(verdict.status, ConditionStatus::True);
        assert_eq!(
            verdict.message,
            "2 tenants share it: a twelfth of 480000.00 EUR each month, 60 % by weight and 40 % by use"
        );
    }

    #[test]
    fn a_pool_names_the_tenant_that_is_not_there() {
        let verdict = judge("p", &pool(), &tenants(&["univ-caen"]));
        assert_eq!(
            (verdict.status, verdict.reason.as_str()),
            (ConditionStatus::False, "UnknownTenant")
        );
        assert!(
            verdict
                .message
                .starts_with("there is no tenant chu-rouen; make it"),
            "{verdict:?}"
        );
    }

    #[test]
    fn a_pool_over_half_a_month_says_so_before_that_month() {
        let mut spec = pool();
        spec.valid_until = "2026-12-15".parse().unwrap();
        let verdict = judge("p", &spec, &tenants(&["univ-caen", "chu-rouen"]));
        assert_eq!(verdict.reason, "CannotBeShared");
        assert!(verdict.message.contains("2026-12"), "{verdict:?}");
    }
}
